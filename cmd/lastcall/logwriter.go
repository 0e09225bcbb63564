package main

import (
	"bytes"
	"io"
	"os"
	"sync"
	"time"
)

const (
	// logPatience is how long a line may wait for its reader before lines are queued, and logQueue how
	// many lines are queued.
	logPatience = 100 * time.Millisecond
	logQueue    = 4096
	// logEnd is how long the end of the program waits for queued lines.
	logEnd = time.Second
)

// logWriter writes a log that perhaps nobody reads, such as a pipe to a log driver that hangs.
// Neither tasks nor a stop may wait for that.
//
// A write returns when its line is written, so that the lines of a program that dies are not lost.
// When that takes longer than logPatience, lines are queued until they are all written. Lines that
// do not fit are dropped. Its owner calls close.
type logWriter struct {
	out     io.Writer
	lines   chan logLine
	written chan struct{} // closed when all lines are
	// gap is called with the number of lines that were dropped, once lines are written again.
	gap func(lines int)

	mu      sync.Mutex
	slow    bool // lines are queued
	dropped int
	closed  bool
}

type logLine struct {
	text    []byte
	written chan struct{} // closed when it is
}

func newLogWriter(out io.Writer, gap func(lines int)) *logWriter {
	w := &logWriter{out: out, lines: make(chan logLine, logQueue), written: make(chan struct{}), gap: gap}
	go w.write()
	return w
}

// Write implements io.Writer, for one line.
func (w *logWriter) Write(b []byte) (int, error) {
	line := logLine{bytes.Clone(b), make(chan struct{})}
	slow, err := w.queue(line)
	if slow || err != nil {
		return len(b), err
	}
	timer := time.NewTimer(logPatience)
	defer timer.Stop()
	select {
	case <-line.written:
	case <-timer.C:
		w.mu.Lock()
		defer w.mu.Unlock()
		w.slow = true
	}
	return len(b), nil
}

// queue queues a line, and reports whether not to wait for it.
func (w *logWriter) queue(line logLine) (slow bool, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return false, os.ErrClosed
	}
	select {
	case w.lines <- line:
		return w.slow, nil
	default:
		w.dropped++
		return true, nil
	}
}

// write writes the lines.
func (w *logWriter) write() {
	defer close(w.written)
	for line := range w.lines {
		_, _ = w.out.Write(line.text) // there is no other place to report an error
		close(line.written)
		if n := w.caughtUp(); n > 0 {
			w.gap(n)
		}
	}
}

// caughtUp ends the queueing if all lines are written. It returns how many were dropped meanwhile.
func (w *logWriter) caughtUp() (dropped int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.lines) == 0 {
		w.slow, dropped, w.dropped = false, w.dropped, 0
	}
	return dropped
}

// close writes what is queued, within logEnd. Later lines are not written.
func (w *logWriter) close() {
	w.mu.Lock()
	w.closed = true
	close(w.lines)
	w.mu.Unlock()
	timer := time.NewTimer(logEnd)
	defer timer.Stop()
	select {
	case <-w.written:
	case <-timer.C:
	}
}
