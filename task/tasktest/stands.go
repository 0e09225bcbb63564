package tasktest

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"runtime/pprof"
	"strconv"
	"strings"
	"sync"
)

// labelKey marks a worker's goroutines, and those that they start, in the goroutine profile.
const labelKey = "tasktest"

func (p *process) label() string { return fmt.Sprintf("%p", p) }

// stands returns the stack of the handler that runs now, or ran last.
func (w *way) stands() string {
	w.mu.Lock()
	p := w.now
	w.mu.Unlock()
	if p == nil {
		return "  an unknown place\n"
	}
	var b bytes.Buffer
	// Of all dumps only this one shows labels (Go 1.26).
	_ = pprof.Lookup("goroutine").WriteTo(&b, 1)
	return findHandler(b.String(), p.label())
}

// rootFrame is the function of package task that calls a handler.
const rootFrame = "lastcall/task.(*Worker).execute+"

// findHandler reads a goroutine profile (debug=1) and returns the frames above rootFrame.
func findHandler(profile, label string) string {
	mark := strconv.Quote(labelKey) + ":" + strconv.Quote(label)
	for record := range strings.SplitSeq(profile, "\n\n") {
		if !strings.Contains(record, mark) || !strings.Contains(record, rootFrame) {
			continue
		}
		var out strings.Builder
		for line := range strings.Lines(record) {
			fields := strings.Fields(line)
			if strings.Contains(line, rootFrame) {
				break
			}
			if len(fields) < 4 || fields[1] == "labels:" || strings.Contains(line, "lastcall/task.Handle[") {
				continue // no frame, or the wrapping of the payload's type
			}
			fn, _, _ := strings.Cut(fields[2], "+0x")
			out.WriteString("  " + fn + "\n      " + strings.Join(fields[3:], " ") + "\n")
		}
		return cmp.Or(out.String(), "  an unknown place\n")
	}
	return "  an unknown place\n"
}

// output is the test's, until the test may be over: who is left behind has nothing to say.
type output struct {
	mu sync.Mutex
	w  io.Writer
}

// Write implements io.Writer.
func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.w == nil {
		return len(b), nil
	}
	return o.w.Write(b)
}

func (o *output) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.w = nil
}
