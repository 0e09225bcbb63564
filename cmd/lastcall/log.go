package main

import (
	"io"
	"log/slog"
)

// The formats in which serve writes its log.
const (
	logAuto = "auto"
	logText = "text"
	logJSON = "json"
)

// newLog returns a logger for a format: text for people, JSON for programs.
func newLog(w io.Writer, format string) *slog.Logger {
	if format == logText || format != logJSON && isTerminal(w) {
		return slog.New(slog.NewTextHandler(w, nil))
	}
	return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{ReplaceAttr: readable}))
}

// readable writes a duration with its unit, as the text format does: a number alone does not show
// that it counts nanoseconds.
func readable(_ []string, a slog.Attr) slog.Attr {
	if a.Value.Kind() == slog.KindDuration {
		a.Value = slog.StringValue(a.Value.Duration().String())
	}
	return a
}
