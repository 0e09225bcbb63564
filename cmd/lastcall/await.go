package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/lastcall-go/lastcall/task"
	"github.com/lastcall-go/lastcall/task/httpapi"
)

// The exit codes of a wait for a task. See newExitCodes.
const (
	failedCode    = 10
	cancelledCode = 11
)

func isExit(err error) bool { return errors.As(err, new(exitError)) }

// awaitTask shows on standard error how a task gets on, until it has ended. It returns nil if the
// task succeeded, and an exitError for any other end and for Ctrl-C. A store or server that is not
// available is asked again: it may be between two versions.
func awaitTask(cmd *cobra.Command, b backend, id string) error {
	ctx, stop := untilInterrupt(cmd.Context())
	defer stop()
	screen := newMeter(cmd.ErrOrStderr())
	defer screen.close()
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for away := false; ; {
		t, err := b.Get(ctx, id)
		switch {
		case ctx.Err() != nil:
			screen.close()
			fmt.Fprintf(cmd.ErrOrStderr(), "lastcall: no longer waiting; task %s goes on: \"lastcall show\" shows it, \"lastcall cancel\" ends it\n", id)
			return exitError(interruptedCode)
		case err != nil && final(err):
			return aboutTask(id, err)
		case err != nil:
			if !away {
				screen.say(fmt.Sprintf("%v; asking again", err))
			}
			away = true
		default:
			away = false
			screen.show(t)
			if t.Status.Ended() {
				return outcome(cmd, screen, t)
			}
		}
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
}

// final reports whether asking again would not help.
func final(err error) bool {
	refused := (*httpapi.Problem)(nil)
	return errors.Is(err, task.ErrNotFound) || errors.Is(err, task.ErrClosed) || errors.As(err, &refused) && refused.Status < 500
}

// outcome returns the exit code of a task that has ended.
func outcome(cmd *cobra.Command, screen *meter, t task.Task) error {
	screen.close()
	switch t.Status {
	case task.StatusSucceeded:
		return nil
	case task.StatusCancelled:
		return exitError(cancelledCode)
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "lastcall: task %s failed: %s (\"lastcall logs\" has what it said, \"lastcall retry\" runs it again)\n", t.ID, plain(t.Error))
	return exitError(failedCode)
}

// meter shows how one task gets on: a bar on a terminal, elsewhere a line for each change.
type meter struct {
	w      io.Writer
	live   bool
	drawn  bool
	status string
	tenths int
}

func newMeter(w io.Writer) *meter { return &meter{w: w, live: isTerminal(w), tenths: -1} }

func (m *meter) show(t task.Task) {
	word := statusWord(t.Status, t.Reason)
	if m.live {
		move(m.w, "\r\x1b[K")
		_, _ = fmt.Fprint(m.w, meterLine(t, columns(m.w)-1)) // the next picture replaces it
		m.drawn = true
		return
	}
	tenths := int(10 * fractionDone(t.Status, t.Progress.Fraction))
	if word == m.status && tenths <= m.tenths {
		return
	}
	m.status, m.tenths = word, tenths
	_, _ = fmt.Fprintf(m.w, "%s  %s  %s\n", word, percentDone(t.Status, t.Progress.Fraction), plain(t.Progress.Message))
}

// say prints a line.
func (m *meter) say(text string) {
	m.close()
	_, _ = fmt.Fprintln(m.w, "lastcall: "+text)
}

// close ends the line with the bar.
func (m *meter) close() {
	if m.drawn {
		_, _ = fmt.Fprintln(m.w)
	}
	m.drawn = false
}

// meterLine shows a task on one line of the given width: a bar, the status, and its message.
func meterLine(t task.Task, width int) string {
	const bar = 24
	line := fmt.Sprintf("%s %s  %s", drawBar(fractionDone(t.Status, t.Progress.Fraction), bar), percentDone(t.Status, t.Progress.Fraction), statusWord(t.Status, t.Reason))
	if t.Runs > 1 {
		line += fmt.Sprintf(", run %d", t.Runs)
	}
	if t.Progress.Message != "" {
		line += "  " + plain(t.Progress.Message)
	}
	return cut(line, width)
}

// drawBar draws a bar of the given width.
func drawBar(fraction float64, width int) string {
	n := int(max(0, min(fraction, 1)) * float64(width))
	return strings.Repeat("█", n) + strings.Repeat("░", width-n)
}
