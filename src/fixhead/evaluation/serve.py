"""``fixhead serve``: a page on this machine to try a trained model with, and its JSON endpoint.

    GET  /              the page
    POST /predict       the bytes of a picture → JSON: ``class``, ``probability``, ``top`` (so many
                        as ?top= says, by default 5), ``cosines`` (of every class vector, the
                        largest first), ``score`` and ``unknown``, ``nearest`` training images
    GET  /nearest/N     training image N of the reference, as a small PNG

A picture is looked at and forgotten; nothing is written, and the page asks no other machine.
"""

from __future__ import annotations

import io
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import torch
from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.concurrency import run_in_threadpool
from starlette.middleware.trustedhost import TrustedHostMiddleware

from .._errors import RequestError, require
from ..data.images import decode
from ..report.render import asset, document, stylesheet
from .model_folder import Calibration
from .predict import Predictor, Reject
from .reference import Reference, seen

NEAREST = 6
THUMBNAIL = 96
"""Pixels of the longer side of a training picture."""

MIB = 1 << 20
LOOPBACK = ("127.0.0.1", "localhost", "::1")
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' blob: data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
SAFE = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


class Answering:
    """What the page says of one picture.

    Args:
        reject: the share of pictures of the known classes that may be called unknown; None where
            the model was not calibrated.

    Raises:
        RequestError: a rejection that cannot be had, or a reference that cannot be read.
    """

    def __init__(self, model: Predictor, reject: float | None) -> None:
        self.model, self.rate = model, reject
        calibration = Calibration.of(model.facts)
        self.rule = None if reject is None else Reject(reject).rule(calibration)
        self.reference: Reference | None = model.reference

    @torch.no_grad()
    def __call__(self, content: bytes, name: str, top: int) -> dict[str, Any]:
        """The answer to a picture's bytes.

        Raises:
            RequestError: it cannot be read.
        """
        model, facts = self.model, self.model.facts
        how = {key: facts[key] for key in ("channels", "image_size")}
        pixels = decode(content, name, bits=facts.get("bits", 16), **how)
        shown = torch.from_numpy(pixels)[None].to(model.device)
        head, names = model.model.head, model.classes
        features = model.features(shown)
        points = head.project(features)
        probabilities = (head.classify(points) / model.temperature).float().softmax(dim=1)[0]
        best = probabilities.topk(min(top, len(names)))
        cosines = head.class_vectors.logits(points, "cosine", 1.0, None)[0].float()
        order = cosines.sort(descending=True)
        named = zip(best.values.tolist(), best.indices.tolist(), strict=True)
        likely = [{"class": names[label], "probability": value} for value, label in named]
        return {
            "image": name,
            **likely[0],
            "top": likely,
            "cosines": [
                {"class": names[label], "cosine": value}
                for value, label in zip(order.values.tolist(), order.indices.tolist(), strict=True)
            ],
            **self._verdict(shown),
            "nearest": self._nearest(features),
        }

    def _verdict(self, pixels: torch.Tensor) -> dict[str, Any]:
        if self.rule is None:
            return {"unknown": None, "score": None}
        name, threshold = self.rule
        value = float(self.model.scored(pixels, name)[1])
        score = {"name": name, "value": value, "threshold": threshold, "rate": self.rate}
        return {"unknown": value < threshold, "score": score}

    def _nearest(self, features: torch.Tensor) -> list[dict[str, Any]]:
        known = self.reference
        if known is None:
            return []
        cosines, places = known.nearest(seen(self.model.model.head, features), NEAREST)
        found = []
        for cosine, place in zip(cosines[0].tolist(), places[0].tolist(), strict=True):
            file = known.files[place]
            lies = file is not None and file.is_file()
            found.append(
                {
                    "class": self.model.classes[int(known.labels[place])],
                    "cosine": cosine,
                    "file": None if file is None else file.name,
                    "picture": f"nearest/{place}" if lies else None,
                }
            )
        return found

    def picture(self, place: int) -> bytes | None:
        """A training picture, made small, as PNG; None where none lies there, or none that can be
        read."""
        files = () if self.reference is None else self.reference.files
        file: Path | None = files[place] if 0 <= place < len(files) else None
        if file is None or not file.is_file():
            return None
        pil: Any = require("PIL.Image", extra="lab")
        try:
            with pil.open(file) as opened:
                small = opened.convert("RGB")
        except (OSError, ValueError, SyntaxError, pil.DecompressionBombError):
            return None
        small.thumbnail((THUMBNAIL, THUMBNAIL))
        out = io.BytesIO()
        small.save(out, format="PNG")
        return out.getvalue()


def build_app(
    model: Predictor,
    *,
    title: str,
    reject: float | None,
    most_bytes: int,
    hosts: tuple[str, ...] = LOOPBACK,
) -> FastAPI:
    """The page's application; ``hosts`` are the names under which it answers, * for any.

    Raises:
        RequestError: as ``Answering``.
    """
    answering = Answering(model, reject)
    app = FastAPI(title=f"fixhead: {title}", docs_url=None, redoc_url=None)
    # A page of another name that resolves to this machine (DNS rebinding) is not answered.
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=list(hosts))

    @app.middleware("http")
    async def safely(
        request: Request, follow: Callable[[Request], Awaitable[Response]]
    ) -> Response:
        response = await follow(request)
        response.headers.update(SAFE)
        return response

    page = document(
        "serve",
        title=title,
        classes=len(model.classes),
        size=model.facts["image_size"],
        head=model.facts["head"],
        rate=None if reject is None else f"{100 * reject:g} %",
        limit=f"{most_bytes / MIB:g} MiB",
    )
    texts = {
        "/": (page, "text/html"),
        "/page.css": (stylesheet() + asset("serve.css"), "text/css"),
        "/page.js": (asset("serve.js"), "text/javascript"),
    }
    for path, (text, kind) in texts.items():
        app.add_api_route(path, _constant(text, kind), include_in_schema=False)

    @app.post("/predict")
    async def predict(request: Request, top: int = 5) -> dict[str, Any]:
        if top < 1:
            raise HTTPException(422, f"top must be 1 or more, got {top}")
        content = await _read(request, most_bytes)
        name = request.headers.get("x-file-name", "picture")
        try:
            return await run_in_threadpool(answering, content, name, top)
        except RequestError as error:
            raise HTTPException(422, str(error)) from error

    @app.get("/nearest/{place}")
    def nearest(place: int) -> Response:
        found = answering.picture(place)
        if found is None:
            raise HTTPException(404, f"training picture {place} does not lie where it did")
        return Response(found, media_type="image/png")

    return app


def _constant(text: str, kind: str) -> Callable[[], Response]:
    return lambda: Response(text, media_type=kind)


async def _read(request: Request, most: int) -> bytes:
    """The body, refused as soon as it is known to be too long."""
    too_long = HTTPException(
        413, f"a picture may have up to {most / MIB:g} MiB here; say --max-mib for more"
    )
    said = request.headers.get("content-length", "")
    if said.isdecimal() and int(said) > most:
        raise too_long
    content = bytearray()
    async for part in request.stream():
        content += part
        if len(content) > most:
            raise too_long
    if not content:
        raise HTTPException(422, "a picture's bytes are needed as the body, got none")
    return bytes(content)
