package tasktest

import (
	"cmp"
	"fmt"
	"io"
	"iter"
	"strings"
	"sync"

	"github.com/lastcall-go/lastcall/internal/stackdump"
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
		return unknownPlace
	}
	return findHandler(stackdump.Take(), p.label())
}

const unknownPlace = "  an unknown place\n"

// rootFrame is the function of package task that calls a handler.
const rootFrame = "/lastcall/task.(*Worker).execute"

// findHandler returns the frames above rootFrame of the goroutine that has the label.
func findHandler(records iter.Seq[stackdump.Record], label string) string {
	for r := range records {
		if r.Label(labelKey) != label {
			continue
		}
		var out strings.Builder
		for f := range r.Frames() {
			if strings.HasSuffix(f.Func, rootFrame) {
				return cmp.Or(out.String(), unknownPlace)
			}
			if !strings.Contains(f.Func, "lastcall/task.Handle[") { // the wrapping of the payload's type
				out.WriteString(f.String())
			}
		}
	}
	return unknownPlace
}

// output is the test's, until the test may be over: a goroutine that is left behind must not write.
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
