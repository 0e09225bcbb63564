// Package safelog recovers the panics of a logger. A slog.Handler is the user's code, and it is
// called in goroutines in which the user's code cannot recover.
package safelog

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime/debug"
	"sync/atomic"
)

// New returns a logger that logs to the given one, or to slog.Default() for nil. If a method of its
// handler panics, the message goes to standard error with the panic, and the first time also with
// the stack.
func New(l *slog.Logger) *slog.Logger {
	h := cmp.Or(l, slog.Default()).Handler()
	if _, done := h.(handler); done {
		return slog.New(h)
	}
	return slog.New(handler{Handler: h, out: os.Stderr, told: new(atomic.Bool)})
}

type handler struct {
	slog.Handler
	out  io.Writer
	told *atomic.Bool // a stack has been printed
}

// Enabled implements slog.Handler. If the handler's method panics, it returns true.
func (h handler) Enabled(ctx context.Context, level slog.Level) (enabled bool) {
	defer func() {
		if recover() != nil {
			enabled = true // Handle reports the panic, if it panics too
		}
	}()
	return h.Handler.Enabled(ctx, level)
}

// Handle implements slog.Handler.
func (h handler) Handle(ctx context.Context, r slog.Record) error {
	defer h.recovered(r.Message)
	return h.Handler.Handle(ctx, r)
}

// WithAttrs implements slog.Handler.
func (h handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	with := h // the result if the handler panics
	h.guarded("WithAttrs", func() { with.Handler = h.Handler.WithAttrs(attrs) })
	return with
}

// WithGroup implements slog.Handler.
func (h handler) WithGroup(name string) slog.Handler {
	with := h
	h.guarded("WithGroup", func() { with.Handler = h.Handler.WithGroup(name) })
	return with
}

// guarded calls f, which may panic.
func (h handler) guarded(what string, f func()) {
	defer h.recovered(what)
	f()
}

// recovered prints a panic and the message that should have been logged. It must be deferred.
func (h handler) recovered(what string) {
	if v := recover(); v != nil {
		fmt.Fprintf(h.out, "lastcall: the logger panicked: %v, at the line: %s\n", v, what)
		if !h.told.Swap(true) {
			_, _ = h.out.Write(debug.Stack()) // there is no other place to report an error
		}
	}
}
