//go:build !linux

package main

import "log/slog"

// closeOnExec has nothing to do: programs are handlers on Linux only.
func closeOnExec(*slog.Logger) {}
