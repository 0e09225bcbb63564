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

// newLog returns a logger for a format: text for people, JSON for programs. A reader that hangs
// does not block it. Its owner calls end.
func newLog(out io.Writer, format string) (log *slog.Logger, end func()) {
	text := format == logText || format != logJSON && isTerminal(out)
	to := func(w io.Writer) *slog.Logger {
		if text {
			return slog.New(slog.NewTextHandler(w, nil))
		}
		return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{ReplaceAttr: readable}))
	}
	w := newLogWriter(out, func(lines int) {
		to(out).Warn("log lines were dropped: they were not read in time", "lines", lines)
	})
	return to(w), w.close
}

// readable writes a duration with its unit, as the text format does: a number alone does not show
// that it counts nanoseconds.
func readable(_ []string, a slog.Attr) slog.Attr {
	if a.Value.Kind() == slog.KindDuration {
		a.Value = slog.StringValue(a.Value.Duration().String())
	}
	return a
}
