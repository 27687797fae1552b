"""Builds the compiled path as a plain shared library; without a C compiler it is left out.

Nothing of Python or torch is in it, so one wheel of a platform serves all their versions.
"""

import os
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext

HOME = "src/fixhead/many_classes/native/"


class BuildPlain(build_ext):
    def get_ext_filename(self, fullname: str) -> str:
        return str(Path(*fullname.split(".")).with_suffix(".so"))

    def get_export_symbols(self, ext: Extension) -> list[str]:
        return []


class AnyPython(bdist_wheel):
    def get_tag(self) -> tuple[str, str, str]:
        # ``wheels.py`` says for which platform it builds.
        return "py3", "none", os.environ.get("FIXHEAD_WHEEL_TAG") or super().get_tag()[2]


setup(
    ext_modules=[
        Extension(
            "fixhead.many_classes.native._kernel",
            [HOME + "kernel.c"],
            depends=[HOME + name for name in ("form.h", "avx512.h", "avx2.h", "portable.h")],
            extra_compile_args=["-std=gnu11", "-O3", "-g0"],
            extra_link_args=["-lm", "-pthread", "-s"],
            optional="FIXHEAD_WHEEL_TAG" not in os.environ,
        )
    ],
    cmdclass={"build_ext": BuildPlain, "bdist_wheel": AnyPython},
)
