// Package stackdump reads the goroutine profile: the number, labels and stacks of
// goroutines.
package stackdump

import (
	"bytes"
	"iter"
	"runtime/pprof"
	"strconv"
	"strings"
)

// Take takes a profile of all goroutines of the process and returns the records
// of those that have labels. Its cost grows with the number of goroutines.
func Take() iter.Seq[Record] {
	var b bytes.Buffer
	// Only this form of the profile (debug=1) shows labels, as of Go 1.26.
	_ = pprof.Lookup("goroutine").WriteTo(&b, 1)
	return Parse(b.String())
}

// Parse returns those records of a goroutine profile in its text form (debug=1)
// whose goroutines have labels. For text that is not a profile it returns no records.
func Parse(profile string) iter.Seq[Record] {
	return func(yield func(Record) bool) {
		for text := range strings.SplitSeq(profile, "\n\n") {
			head, labelled, ok := strings.Cut(text, "\n# labels: ")
			if !ok {
				continue
			}
			labels, frames, ok := strings.Cut(labelled, "\n")
			if !ok {
				continue
			}
			head = head[strings.LastIndexByte(head, '\n')+1:] // the first record follows a title
			if !yield(Record{head: head, labels: labels, frames: frames}) {
				return
			}
		}
	}
}

// A Record is about all goroutines that have the same stack and the same labels.
type Record struct {
	head   string // "3 @ 0x1 0x2": how many there are, and their program counters
	labels string // {"key":"value", "key":"value"}
	frames string // a line for each function
}

// Count returns the number of goroutines, as it is written in the profile.
func (r Record) Count() string {
	n, _, _ := strings.Cut(r.head, " ")
	return n
}

// Label returns the value of a label, or "" if there is none.
func (r Record) Label(key string) string {
	_, rest, ok := strings.Cut(r.labels, strconv.Quote(key)+":")
	if !ok {
		return ""
	}
	quoted, err := strconv.QuotedPrefix(rest)
	if err != nil {
		return ""
	}
	value, _ := strconv.Unquote(quoted)
	return value
}

// maxFrames is how many frames the runtime records at most (Go 1.26).
const maxFrames = 128

// Truncated reports whether the stack was too deep for the runtime to record it to its root.
func (r Record) Truncated() bool { return strings.Count(r.head, " 0x") >= maxFrames }

// Frames returns the functions of the stack, the innermost one first.
func (r Record) Frames() iter.Seq[Frame] {
	return func(yield func(Frame) bool) {
		for line := range strings.Lines(r.frames) {
			// "#\t0x4f\tmain.f+0x2f\t\t/src/a.go:7"
			fields := strings.Fields(line)
			if len(fields) < 4 || fields[0] != "#" {
				continue
			}
			fn, _, _ := strings.Cut(fields[2], "+0x")
			if !yield(Frame{Func: fn, Place: strings.Join(fields[3:], " ")}) {
				return
			}
		}
	}
}

// A Frame is one function of a stack.
type Frame struct {
	Func  string // with the path of its package
	Place string // file:line
}

// String returns the frame as two indented lines, as a panic prints it.
func (f Frame) String() string { return "  " + f.Func + "\n      " + f.Place + "\n" }
