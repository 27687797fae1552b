"""What is known of data sets, printed for a person."""

from __future__ import annotations

from .checks import Check, Listed, Prepared


def show_list(rows: tuple[Listed, ...]) -> None:
    """A line for every data set that has a name."""
    for row in rows:
        size = f"{row.classes} classes, {row.image_size}x{row.image_size}"
        print(f"{row.name:<15} {row.title:<34} {size:<24} needs {row.needs}")


def show_check(found: Check) -> None:
    """Counts, duplicates, checksums and notes, and what a long tail would leave."""
    colour = "colour" if found.channels == 3 else f"{found.channels} channel(s)"
    print(f"{found.title} ({found.name}): {found.image_size}x{found.image_size}, {colour}")
    print(f"  {found.classes} classes")
    for part, counts in found.splits.items():
        sizes = counts.per_class.values()
        print(
            f"  {part}: {counts.images} images of {counts.classes} classes, "
            f"{min(sizes)} to {max(sizes)} of each"
        )
    print(
        f"  test images that are also training images: {found.duplicates} "
        f"({found.disagreeing} with another label)"
    )
    if found.near_duplicates:
        print(f"  test images that look almost like a training image: {found.near_duplicates}")
    if found.unreadable:
        print(f"  {len(found.unreadable)} images cannot be decoded:")
    for sentence in found.unreadable:
        print(f"    {sentence}")
    for file, state in found.checksums.items():
        print(f"  checksum {state}: {file}")
    if not found.checksums:
        print("  no checksum is known for these files")
    for note in found.notes:
        print(f"  note: {note}")
    if found.imbalance is not None:
        print(
            f"  {found.imbalance['rule']} would leave {found.imbalance['images']} training images:"
        )
        for name, count in found.imbalance["per_class"].items():
            print(f"    {count:>6}  {name}")


def show_prepared(prepared: Prepared) -> None:
    """How many images were decoded, how fast, and where they lie now."""
    where = prepared.folder or "memory (nothing to cache)"
    print(
        f"{prepared.name}: {prepared.images} images in {where}, {prepared.bytes / 2**20:.1f} MiB, "
        f"{prepared.seconds:.2f} s ({prepared.images_per_second:,.0f} images/s)"
    )
    for note in prepared.notes:
        print(f"  note: {note}")
