"""Annotation files: reading and checking them, and turning other forms into COCO."""
