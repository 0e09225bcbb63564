package lastcall

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// journal passes lines to the logger. A logger can block - a full pipe, a slow
// disk - and a stop must not wait for it. From last call on, lines are therefore queued
// and written by one goroutine; lines that it cannot write in time are dropped.
type journal struct {
	mu      sync.Mutex
	lines   chan func() // nil: written directly
	written chan struct{}
	dropped int
}

const journalSize = 1024

// queue starts the writer.
func (j *journal) queue() {
	j.mu.Lock()
	defer j.mu.Unlock()
	lines, written := make(chan func(), journalSize), make(chan struct{})
	j.lines, j.written = lines, written
	go func() {
		defer close(written)
		for write := range lines {
			write()
		}
	}()
}

// log writes one line, or queues it.
func (j *journal) log(l *slog.Logger, level slog.Level, msg string, attrs ...any) {
	j.do(func() { l.Log(context.Background(), level, msg, attrs...) })
}

// do calls f, or queues it.
func (j *journal) do(f func()) {
	j.mu.Lock()
	if j.lines == nil {
		j.mu.Unlock()
		f()
		return
	}
	defer j.mu.Unlock()
	select {
	case j.lines <- f:
	default:
		j.dropped++
	}
}

// finish logs how many lines were dropped and waits for the writer, for the timeout
// at most. Later lines are written directly.
func (j *journal) finish(l *slog.Logger, timeout time.Duration) {
	j.mu.Lock()
	lines, written, dropped := j.lines, j.written, j.dropped
	j.lines = nil
	j.mu.Unlock()
	if dropped > 0 {
		select {
		case lines <- func() { l.Warn("log lines of the stop were dropped: the logger was too slow", "lines", dropped) }:
		default:
		}
	}
	close(lines)
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	select {
	case <-written:
	case <-timer.C:
	}
}
