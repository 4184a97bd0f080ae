"""A package that is installed under another name than it is imported by."""

import cv2  # noqa: F401
