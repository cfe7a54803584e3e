"""Messages generated from the .proto files of this folder (`make proto`): never edited, read through
`packhound.wire.codec`, `packhound.kit.rpc` and whoever serves them."""
