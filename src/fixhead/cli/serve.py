"""``fixhead serve``: a page on this machine to try a model with."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .._errors import RequestError, require
from .options import Device


def serve(
    model: Annotated[
        Path,
        typer.Argument(
            metavar="RUN_DIR|MODEL", help="Give the folder of a run, or its model.safetensors."
        ),
    ],
    host: Annotated[
        str,
        typer.Option(
            help="Answer at this address: by default to this machine alone, at 0.0.0.0 to whoever "
            "can reach it."
        ),
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Answer at this port; 0 takes a free one.")
    ] = 8000,
    reject: Annotated[
        float,
        typer.Option(
            metavar="RATE",
            help="Call pictures unknown whose score is lower than that of all but this share of "
            "the validation images.",
        ),
    ] = 0.05,
    max_mib: Annotated[float, typer.Option(help="Take pictures of up to so many MiB.")] = 16.0,
    device: Device = "auto",
) -> None:
    """Show a page where a picture can be dropped: its classes, cosines and nearest training images.

    POST /predict takes a picture's bytes and answers in JSON. Pictures are not kept.
    """
    if not 0 <= reject < 1:
        raise RequestError(f"--reject must be a rate from 0 to below 1, got {reject}")
    if not max_mib > 0:
        raise RequestError(f"--max-mib must be above 0, got {max_mib}")
    if model.suffix == ".onnx":
        raise RequestError(f"serve needs the model's folder, got the exported file {model}")
    require("fastapi", extra="serve")
    uvicorn = require("uvicorn", extra="serve")
    import socket

    from ..evaluation.predict import load
    from ..evaluation.serve import LOOPBACK, MIB, build_app

    opened = load(model, device=device)
    rate = None if opened.facts.get("calibration") is None else reject
    app = build_app(
        opened,
        title=(model.parent if model.is_file() else model).resolve().name,
        reject=rate,
        most_bytes=int(max_mib * MIB),
        hosts=LOOPBACK if host in LOOPBACK else ("*",),
    )
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listening = socket.create_server((host, port), family=family)
    except OSError as error:
        raise RequestError(
            f"--host {host} --port {port} cannot be had ({error.strerror}); say another --port"
        ) from error
    shown = f"[{host}]" if ":" in host else host
    print(f"http://{shown}:{listening.getsockname()[1]}/ (Ctrl-C stops it)", flush=True)
    settings = uvicorn.Config(app, log_level="warning", ws="none", lifespan="off")
    uvicorn.Server(settings).run(sockets=[listening])
