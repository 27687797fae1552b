"""The compiled path for code vectors on the CPU."""
