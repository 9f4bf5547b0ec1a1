"""Branchwise: agent orchestration with verifier-guided search."""
