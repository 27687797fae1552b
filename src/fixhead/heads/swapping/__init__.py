"""What ``swap_head`` is made of: finding the head, replacing it, and saying what that saves."""
