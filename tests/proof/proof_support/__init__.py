"""For the tests of a library's models: what the library says of images, and what segplug gives."""
