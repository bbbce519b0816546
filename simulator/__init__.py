"""Pseudo X-ray images of solder joints, with labels, defects and masks; knows nobody."""
