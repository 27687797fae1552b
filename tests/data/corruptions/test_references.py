"""Every corruption against what the published code calls: skimage, OpenCV, scipy, PIL.

Where a corruption is random, the reference is handed our own draws. The published code works in
float64 and cuts off what is behind the point, so one level of difference is a sum that fell on the
other side of a whole number; the share of such pixels is bounded too.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import skimage
import torch
from PIL import Image
from scipy import stats
from scipy.ndimage import map_coordinates, zoom

from fixhead._errors import RequestError
from fixhead.data.corruptions import KINDS, corrupt, strength
from fixhead.data.corruptions.filters import Draws, disk, gaussian, motion, trimmed
from fixhead.data.corruptions.kinds import FROST_FILES, plasma, poisson

CASES = [(32, severity) for severity in (1, 3, 5)] + [(64, 2), (64, 4)]


def images(size: int, number: int = 3) -> torch.Tensor:
    """Smooth pictures with edges, and one of noise: (N, 3, size, size)."""
    generator = np.random.default_rng(size)
    noise = generator.integers(0, 256, (number, size, size, 3)).astype(np.float32)
    smooth = [cv2.GaussianBlur(picture, (0, 0), size / 16) for picture in noise[1:]]
    stretched = [(p - p.min()) / (p.max() - p.min()) * 255 for p in smooth]
    stack = np.stack([noise[0], *stretched]).astype(np.uint8)
    stack[1:, size // 4 : size // 2, size // 3 :] = (250, 10, 128)
    stack[1:, 0, :3] = 0
    return torch.from_numpy(stack).permute(0, 3, 1, 2).contiguous()


def draws(kind: str, severity: int, number: int = 3) -> Draws:
    return Draws(0, f"{kind}/{severity}", torch.arange(number))


def as_picture(image: torch.Tensor) -> np.ndarray:
    return image.permute(1, 2, 0).numpy()


def published(values: np.ndarray) -> np.ndarray:
    return np.uint8(np.clip(values, 0, 1) * 255)


def agree(
    kind: str,
    size: int,
    severity: int,
    reference: Callable[[np.ndarray, int], np.ndarray],
    *,
    levels: int = 1,
    share: float = 0.01,
) -> None:
    """Our images differ from the reference by at most ``levels``, and in few pixels."""
    batch = images(size)
    out = corrupt(batch, kind, severity, indices=torch.arange(len(batch)), table=size)
    for place, image in enumerate(batch):
        expected = reference(as_picture(image), place)
        difference = np.abs(as_picture(out[place]).astype(int) - expected.astype(int))
        assert difference.max() <= levels, f"image {place}"
        assert (difference > 0).mean() <= share, f"image {place}"


@pytest.mark.parametrize(("size", "severity"), CASES)
def test_gaussian_noise(size: int, severity: int) -> None:
    noise = draws("gaussian-noise", severity).normal("noise", 3, size, size)
    (deviation,) = strength("gaussian-noise", severity, size)

    def reference(picture: np.ndarray, place: int) -> np.ndarray:
        return published(picture / 255.0 + deviation * as_picture(noise[place]))

    agree("gaussian-noise", size, severity, reference, levels=0)


@pytest.mark.parametrize(("size", "severity"), CASES)
def test_impulse_noise_has_the_share_and_the_colours_of_skimage(size: int, severity: int) -> None:
    (amount,) = strength("impulse-noise", severity, size)
    batch = torch.full((60, 3, size, size), 128, dtype=torch.uint8)
    out = corrupt(batch, "impulse-noise", severity, indices=torch.arange(60), table=size)
    grey = np.full((60, size, size, 3), 128 / 255)
    theirs = published(skimage.util.random_noise(grey, mode="s&p", amount=amount, rng=0))
    number = batch.numel()
    error = 5 * np.sqrt(2 * amount / 2 / number)
    for level in (0, 255):
        ours, other = (out == level).double().mean().item(), (theirs == level).mean()
        assert abs(ours - amount / 2) < error
        assert abs(ours - other) < error
    untouched = (out != 0) & (out != 255)
    assert set(out[untouched].unique().tolist()) == {128}
    # each channel is hit on its own, as in skimage
    assert ((out != 128).sum(dim=1) == 1).any()


@pytest.mark.parametrize("photons", [3.0, 60.0, 500.0])
def test_shot_noise_is_the_inverse_of_the_poisson_distribution(photons: float) -> None:
    level = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16).repeat(40, 1, 1, 1)
    uniform = draws("shot-noise", 1, 40).uniform("photons", 1, 16, 16)
    ours = poisson(level, uniform, photons).numpy()
    expected = stats.poisson.ppf(uniform.numpy(), photons * level.numpy() / 255)
    expected[level.numpy() == 0] = 0  # no light, no photons
    assert (ours == expected).mean() > 0.9999
    assert np.abs(ours - expected).max() <= 1


@pytest.mark.parametrize(("size", "severity"), CASES)
def test_shot_noise_keeps_the_mean_and_the_variance_of_light(size: int, severity: int) -> None:
    (photons,) = strength("shot-noise", severity, size)
    batch = torch.full((40, 3, size, size), 100, dtype=torch.uint8)
    out = corrupt(batch, "shot-noise", severity, indices=torch.arange(40), table=size).double()
    variance = 100 / 255 / photons * 255**2
    error = 5 * np.sqrt(variance / out.numel())
    assert abs(out.mean().item() + 0.5 - 100) < error + 0.5  # half a level is cut off
    assert out.var().item() == pytest.approx(variance, rel=0.05)


@pytest.mark.parametrize("size", [32, 64, pytest.param(224, marks=pytest.mark.slow)])
@pytest.mark.parametrize("severity", range(1, 6))
def test_defocus_blur(size: int, severity: int) -> None:
    radius, alias = strength("defocus-blur", severity, size)

    def reference(picture: np.ndarray, _: int) -> np.ndarray:
        kernel = published_disk(radius, alias)
        values = picture / 255.0
        return published(np.dstack([cv2.filter2D(values[..., c], -1, kernel) for c in range(3)]))

    # Flat areas sum to whole numbers, which fall to either side.
    agree("defocus-blur", size, severity, reference, share=0.3)


def published_disk(radius: float, alias: float) -> np.ndarray:
    reach, taps = (8, (3, 3)) if radius <= 8 else (radius, (5, 5))
    line = np.arange(-reach, reach + 1)
    x, y = np.meshgrid(line, line)
    inside = np.array(x**2 + y**2 <= radius**2, dtype=np.float32)
    return cv2.GaussianBlur(inside / inside.sum(), ksize=taps, sigmaX=alias)


@pytest.mark.parametrize("radius", [0.3, 1.5, 8, 10])
def test_the_disk_is_the_published_kernel(radius: float) -> None:
    kernel = disk(radius, 0.5)
    np.testing.assert_allclose(kernel.numpy(), published_disk(radius, 0.5), atol=1e-7)
    assert float(trimmed(kernel).sum()) == pytest.approx(float(kernel.sum()), abs=1e-12)
    assert float(trimmed(kernel)[0].max()) > 0


@pytest.mark.parametrize("sigma", [0.05, 0.4, 1.0, 2.5])
def test_the_gaussian_is_that_of_skimage(sigma: float) -> None:
    batch = images(32).double() / 255
    ours = gaussian(batch, sigma)
    for image, blurred in zip(batch, ours, strict=True):
        expected = skimage.filters.gaussian(as_picture(image), sigma=sigma, channel_axis=-1)
        np.testing.assert_allclose(as_picture(blurred), expected, atol=1e-12)


@pytest.mark.parametrize(("size", "severity"), CASES)
def test_glass_blur(size: int, severity: int) -> None:
    sigma, reach, rounds = strength("glass-blur", severity, size)
    reach, numbers = int(reach), draws("glass-blur", severity)

    def reference(picture: np.ndarray, place: int) -> np.ndarray:
        blurred = skimage.filters.gaussian(picture / 255.0, sigma=sigma, channel_axis=-1)
        x = np.uint8(blurred * 255)
        columns = list(range(size - reach, reach, -1))
        for turn in range(int(rounds)):
            for h in range(size - reach, reach, -1):
                steps = numbers.uniform(f"step/{turn}/{h}", 2, len(columns))[place].numpy()
                for at, w in enumerate(columns):
                    dx, dy = (np.floor(steps[:, at] * 2 * reach) - reach).astype(int)
                    # the published line; numpy's views make it a copy
                    x[h, w], x[h + dy, w + dx] = x[h + dy, w + dx], x[h, w]
        blurred = skimage.filters.gaussian(x / 255.0, sigma=sigma, channel_axis=-1)
        return published(blurred)

    # Flat areas sum to whole numbers, which fall to either side; here twice.
    agree("glass-blur", size, severity, reference, levels=2, share=0.3)


def test_motion_blur_is_that_of_imagemagick() -> None:
    # convert NOISE -virtual-pixel edge -motion-blur 8x2+17.3, ImageMagick 6.9.11; rows 5 and 6
    noise = np.random.default_rng(0).integers(0, 256, (12, 14), dtype=np.uint8)
    expected = [
        [132, 187, 198, 148, 134, 104, 113, 152, 153, 142, 131, 109, 111, 135],
        [156, 199, 187, 179, 136, 168, 181, 132, 103, 114, 93, 74, 156, 157],
    ]
    batch = torch.from_numpy(noise)[None, None].double()
    ours = motion(batch, 8, 2, torch.tensor([17.3])).round()
    assert ours[0, 0, 5:7].long().tolist() == expected


def test_motion_blur_has_an_angle_of_its_own_for_every_image() -> None:
    batch = images(32, 1).repeat(6, 1, 1, 1)
    out = corrupt(batch, "motion-blur", 5, indices=torch.arange(6))
    assert len(torch.unique(out.flatten(1), dim=0)) == 6
    radius, sigma = strength("motion-blur", 5, 32)
    angles = draws("motion-blur", 5, 6).between("angle", -45, 45)
    assert float(angles.abs().max()) <= 45
    alone = motion(batch[4:5].double(), int(radius), sigma, angles[4:5]).round()
    assert torch.equal(alone[0].to(torch.uint8), out[4])


@pytest.mark.parametrize(("size", "severity"), [*CASES, (224, 1), (224, 5)])
def test_zoom_blur(size: int, severity: int) -> None:
    factors = strength("zoom-blur", severity, size)

    def reference(picture: np.ndarray, _: int) -> np.ndarray:
        values = (picture / 255.0).astype(np.float32)
        total = sum(published_zoom(values, factor) for factor in factors)
        return published((values + total) / (len(factors) + 1))

    agree("zoom-blur", size, severity, reference)


def published_zoom(picture: np.ndarray, factor: float) -> np.ndarray:
    height = picture.shape[0]
    part = int(np.ceil(height / factor))
    top = (height - part) // 2
    cut = picture[top : top + part, top : top + part]
    large = zoom(cut, (factor, factor, 1), order=1)
    trim = (large.shape[0] - height) // 2
    return large[trim : trim + height, trim : trim + height]


@pytest.mark.parametrize(("size", "severity"), CASES)
def test_snow(size: int, severity: int) -> None:
    mean, deviation, factor, threshold, radius, sigma, share = strength("snow", severity, size)
    numbers = draws("snow", severity)
    flakes = numbers.normal("flakes", 1, size, size)
    angles = numbers.between("angle", -135, -45)

    def reference(picture: np.ndarray, place: int) -> np.ndarray:
        layer = mean + deviation * flakes[place, 0].numpy()
        layer = published_zoom(layer[..., None], factor).squeeze()
        layer[layer < threshold] = 0
        layer = torch.from_numpy((np.clip(layer, 0, 1) * 255).astype(np.uint8))[None, None]
        # the blur itself is compared with ImageMagick above
        blown = motion(layer.double(), int(radius), sigma, angles[place : place + 1]).round()
        layer = (blown[0, 0].numpy() / 255.0)[..., None]
        x = picture.astype(np.float32) / 255.0
        grey = cv2.cvtColor(x, cv2.COLOR_RGB2GRAY)[..., None]
        x = share * x + (1 - share) * np.maximum(x, grey * 1.5 + 0.5)
        return published(x + layer + np.rot90(layer, k=2))

    agree("snow", size, severity, reference)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    for number, name in enumerate(FROST_FILES):
        noise = np.random.default_rng(number).integers(0, 256, (300, 400, 3), dtype=np.uint8)
        kind = "JPEG" if name.endswith("jpg") else "PNG"
        Image.fromarray(cv2.GaussianBlur(noise, (0, 0), 5)).save(tmp_path / name, kind)
    return tmp_path


@pytest.mark.parametrize(("size", "severity"), [*CASES, (224, 3)])
def test_frost(size: int, severity: int, pictures: Path) -> None:
    share, cover, scale = strength("frost", severity, size)
    batch = images(size)
    out = corrupt(batch, "frost", severity, indices=torch.arange(3), table=size, frost_dir=pictures)
    numbers = draws("frost", severity)
    which, spots = numbers.uniform("which"), numbers.uniform("place", 2)
    for place, image in enumerate(batch):
        frost = np.array(Image.open(pictures / FROST_FILES[int(which[place] * 5)]).convert("RGB"))
        if scale != 1:
            frost = cv2.resize(frost, (0, 0), fx=scale, fy=scale)
        top, left = (int(spots[place, i] * (frost.shape[i] - size)) for i in (0, 1))
        cut = frost[top : top + size, left : left + size]
        expected = np.uint8(np.clip(share * as_picture(image) + cover * cut, 0, 255))
        difference = np.abs(as_picture(out[place]).astype(int) - expected.astype(int))
        assert difference.max() <= 1  # OpenCV resizes in fixed point
        assert (difference > 0).mean() < 0.2


def test_frost_without_its_photographs_says_what_it_needs(tmp_path: Path) -> None:
    for folder in (None, tmp_path):
        with pytest.raises(RequestError, match=r"corruption frost needs .*frost1\.png"):
            corrupt(images(32), "frost", 1, indices=torch.arange(3), frost_dir=folder)


@pytest.mark.parametrize("decay", [3, 1.4])
@pytest.mark.parametrize("size", [4, 32])
def test_plasma_is_the_published_recursion(size: int, decay: float) -> None:
    numbers = draws("fog", 1)
    ours = plasma(numbers, size, decay)
    for place in range(3):
        np.testing.assert_allclose(
            ours[place].numpy(), published_plasma(numbers, place, size, decay), atol=1e-12
        )


def published_plasma(numbers: Draws, place: int, size: int, decay: float) -> np.ndarray:
    """The published code's function, its draws replaced by ours."""
    heights = np.empty((size, size))
    heights[0, 0] = 0
    step, wibble = size, 100.0

    def wibbled(name: str, array: np.ndarray) -> np.ndarray:
        drawn = numbers.between(f"{step}/{name}", -wibble, wibble, *array.shape)[place].numpy()
        return array / 4 + wibble * drawn

    while step >= 2:
        half = step // 2
        corners = heights[0:size:step, 0:size:step]
        total = corners + np.roll(corners, shift=-1, axis=0)
        total += np.roll(total, shift=-1, axis=1)
        heights[half:size:step, half:size:step] = wibbled("square", total)
        right, left = heights[half:size:step, half:size:step], heights[0:size:step, 0:size:step]
        total = right + np.roll(right, 1, axis=0) + left + np.roll(left, -1, axis=1)
        heights[0:size:step, half:size:step] = wibbled("top", total)
        total = right + np.roll(right, 1, axis=1) + left + np.roll(left, -1, axis=0)
        heights[half:size:step, 0:size:step] = wibbled("left", total)
        step //= 2
        wibble /= decay
    heights -= heights.min()
    return heights / heights.max()


@pytest.mark.parametrize(("size", "severity"), CASES)
def test_fog(size: int, severity: int) -> None:
    thickness, decay = strength("fog", severity, size)
    numbers = draws("fog", severity)

    def reference(picture: np.ndarray, place: int) -> np.ndarray:
        x = picture / 255.0
        most = x.max()
        x += thickness * published_plasma(numbers, place, size, decay)[..., None]
        return published(x * most / (most + thickness))

    agree("fog", size, severity, reference)


@pytest.mark.parametrize(("size", "severity"), CASES)
def test_brightness(size: int, severity: int) -> None:
    (more,) = strength("brightness", severity, size)

    def reference(picture: np.ndarray, _: int) -> np.ndarray:
        x = skimage.color.rgb2hsv(picture / 255.0)
        x[:, :, 2] = np.clip(x[:, :, 2] + more, 0, 1)
        return published(skimage.color.hsv2rgb(x))

    # Levels that land on a whole number fall to either side in HSV's own rounding.
    agree("brightness", size, severity, reference, share=0.25)


@pytest.mark.parametrize(("size", "severity"), CASES)
def test_contrast(size: int, severity: int) -> None:
    (share,) = strength("contrast", severity, size)

    def reference(picture: np.ndarray, _: int) -> np.ndarray:
        x = picture / 255.0
        means = np.mean(x, axis=(0, 1), keepdims=True)
        return published((x - means) * share + means)

    agree("contrast", size, severity, reference)


@pytest.mark.parametrize(("size", "severity"), [*CASES, (224, 1), (224, 3)])
def test_elastic(size: int, severity: int) -> None:
    spread, smooth, affine = strength("elastic", severity, size)
    numbers = draws("elastic", severity)
    corners = numbers.between("corners", -affine, affine, 3, 2)
    across, down = (numbers.between(name, -1, 1, 1, size, size) for name in ("across", "down"))

    def shift(drawn: torch.Tensor) -> np.ndarray:
        if smooth == 0:
            return np.zeros((size, size, 1), dtype=np.float32)
        blurred = skimage.filters.gaussian(drawn.numpy(), smooth, mode="reflect", truncate=3)
        return (blurred * spread).astype(np.float32)[..., None]

    def reference(picture: np.ndarray, place: int) -> np.ndarray:
        x = picture.astype(np.float32) / 255.0
        middle, reach = np.float32([size, size]) // 2, size // 3
        before = np.float32(
            [middle + reach, [middle[0] + reach, middle[1] - reach], middle - reach]
        )
        after = before + corners[place].numpy().astype(np.float32)
        matrix = cv2.getAffineTransform(before, after)
        x = cv2.warpAffine(x, matrix, (size, size), borderMode=cv2.BORDER_REFLECT_101)
        grid = np.meshgrid(np.arange(size), np.arange(size), np.arange(3))
        places = (
            np.reshape(grid[1] + shift(down[place, 0]), (-1, 1)),
            np.reshape(grid[0] + shift(across[place, 0]), (-1, 1)),
            np.reshape(grid[2], (-1, 1)),
        )
        moved = map_coordinates(x, places, order=1, mode="reflect")
        return published(moved.reshape(x.shape))

    # OpenCV interpolates on a grid of 1/32 pixel: steep edges differ by some levels.
    agree("elastic", size, severity, reference, levels=9, share=1.0)
    batch = images(size)
    out = corrupt(batch, "elastic", severity, indices=torch.arange(3), table=size)
    for place, image in enumerate(batch[1:], start=1):
        difference = np.abs(
            as_picture(out[place]).astype(int) - reference(as_picture(image), place).astype(int)
        )
        assert difference.mean() < 0.6


@pytest.mark.parametrize("size", [32, 64, 224])
@pytest.mark.parametrize("severity", range(1, 6))
def test_pixelate(size: int, severity: int) -> None:
    (share,) = strength("pixelate", severity, size)

    def reference(picture: np.ndarray, _: int) -> np.ndarray:
        small = Image.fromarray(picture).resize((int(size * share),) * 2, Image.Resampling.BOX)
        return np.asarray(small.resize((size, size), Image.Resampling.BOX))

    agree("pixelate", size, severity, reference, levels=0)


@pytest.mark.parametrize(("size", "severity"), CASES)
def test_jpeg(size: int, severity: int) -> None:
    (quality,) = strength("jpeg", severity, size)

    def reference(picture: np.ndarray, _: int) -> np.ndarray:
        buffer = io.BytesIO()
        Image.fromarray(picture).save(buffer, "JPEG", quality=int(quality))
        return np.asarray(Image.open(buffer))

    agree("jpeg", size, severity, reference, levels=0)


def test_there_is_a_reference_for_every_kind() -> None:
    tested = {name.removeprefix("test_").replace("_", "-") for name in globals()}
    split = {"impulse-noise", "shot-noise", "motion-blur"}  # several tests under longer names
    assert set(KINDS) <= tested | split
