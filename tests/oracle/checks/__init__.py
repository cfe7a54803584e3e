"""Comparisons with other tools, one module a family of protocols; each names its CHECKS."""
