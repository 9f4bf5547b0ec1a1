"""The worker: what runs inside of every sandbox. Sent there as text, never imported by the framework.

It needs Python 3.8 and nothing but the standard library.
"""
