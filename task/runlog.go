package task

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
)

// Logger returns a logger whose lines go to two places: to the task's log, as described at
// [Run.Log], as text with time, level, attributes and groups; and to the worker's logger, with the
// attributes task, kind and run before the line's own.
//
// The worker's logger decides itself which levels it takes. The task's log takes those, and all
// from Info up. Once the handler has returned, lines go to the worker's logger only.
func (r *Run) Logger() *slog.Logger {
	options := slog.HandlerOptions{Level: slog.Level(-1 << 20)} // its caller has decided
	return slog.New(runLog{
		task:   slog.NewTextHandler(lines{r}, &options),
		worker: r.saver.log.With("task", r.task.ID, "kind", r.task.Kind, "run", r.task.Run).Handler(),
	})
}

// runLog is a handler that passes records to two others.
type runLog struct{ task, worker slog.Handler }

// Enabled implements slog.Handler.
func (h runLog) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= slog.LevelInfo || h.worker.Enabled(ctx, level)
}

// Handle implements slog.Handler.
func (h runLog) Handle(ctx context.Context, rec slog.Record) error {
	err := h.task.Handle(ctx, rec.Clone())
	if h.worker.Enabled(ctx, rec.Level) {
		err = errors.Join(err, h.worker.Handle(ctx, rec))
	}
	return err
}

// WithAttrs implements slog.Handler.
func (h runLog) WithAttrs(attrs []slog.Attr) slog.Handler {
	return runLog{task: h.task.WithAttrs(attrs), worker: h.worker.WithAttrs(attrs)}
}

// WithGroup implements slog.Handler.
func (h runLog) WithGroup(name string) slog.Handler {
	return runLog{task: h.task.WithGroup(name), worker: h.worker.WithGroup(name)}
}

// lines writes to a task's log.
type lines struct{ run *Run }

// Write takes one line, as slog.TextHandler writes it.
func (l lines) Write(p []byte) (int, error) {
	l.run.Log(string(bytes.TrimSuffix(p, []byte("\n"))))
	return len(p), nil
}
