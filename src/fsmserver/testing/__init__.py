"""A simulated kernel that keeps its promise, and machines that find bugs: for this project's servers, and for yours."""
