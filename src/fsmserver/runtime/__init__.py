"""What acts: the only code of the product that touches the operating system."""
