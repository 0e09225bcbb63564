package lastcall

import (
	"bytes"
	"runtime/pprof"
	"strconv"
	"strings"
	"time"
)

// maxDumpTime bounds the goroutine profile, whose cost grows with the number
// of goroutines in the process.
const maxDumpTime = 500 * time.Millisecond

// maxStack bounds one stack in a report.
const maxStack = 16 << 10

// dumpTime is how long a dump may take now: it is paid from what the closers
// and the report have left.
func (g *Group) dumpTime() time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.at.close.IsZero() {
		return maxDumpTime
	}
	return min(maxDumpTime, max(time.Until(g.at.close)/2, g.budget.report/2))
}

// addStacks gives each line the stacks of its goroutines, unless the
// dump takes longer than the timeout; then it goes on in the background, and
// the lines stay without. A goroutine belongs to a line when it carries the
// group's label and that name, and has the group's own frame at its root: the
// labels alone would also match the goroutines that it started itself.
func addStacks(lines []Entry, group uint64, timeout time.Duration) {
	if len(lines) == 0 || timeout <= 0 {
		return
	}
	profile := make(chan []byte, 1)
	go func() {
		var b bytes.Buffer
		// Of all dumps only this one shows labels (Go 1.26).
		_ = pprof.Lookup("goroutine").WriteTo(&b, 1)
		profile <- b.Bytes()
	}()
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	select {
	case text := <-profile:
		stacks := findStacks(string(text), strconv.FormatUint(group, 10))
		for i := range lines {
			lines[i].Stack = stacks[stackKey{string(lines[i].Kind), lines[i].label}].String()
		}
	case <-timer.C:
	}
}

// stackKey is what the labels of a goroutine say.
type stackKey struct{ kind, name string }

// stacks are the different places at which the goroutines of one name stand.
type stacks struct {
	places []string
	counts []string
	more   int
}

const maxPlaces = 8

func (s *stacks) String() string {
	if s == nil {
		return ""
	}
	if len(s.places) == 1 && s.more == 0 {
		return s.places[0]
	}
	var b strings.Builder
	for i, p := range s.places {
		b.WriteString("  " + s.counts[i] + " at\n" + p)
	}
	if s.more > 0 {
		b.WriteString("  and at " + strconv.Itoa(s.more) + " other places\n")
	}
	return b.String()
}

// rootFrames are the functions of ours that call the user's. A worker of package task calls handlers
// in goroutines that it starts itself: when it is abandoned, it is they who hang.
var rootFrames = []string{"lastcall.(*entry).run+", "lastcall.closer.call+", "lastcall.(*httpServer).ServeHTTP+", "lastcall/task.(*Worker).execute+"}

// findStacks reads a goroutine profile (debug=1), in which goroutines with the
// same stack and labels are one record, and returns the group's stacks.
func findStacks(profile, group string) map[stackKey]*stacks {
	found := map[stackKey]*stacks{}
	for record := range strings.SplitSeq(profile, "\n\n") {
		head, labelled, ok := strings.Cut(record, "\n# labels: ")
		if !ok {
			continue
		}
		labels, frames, ok := strings.Cut(labelled, "\n")
		if !ok || label(labels, groupLabel) != group || !hasRootFrame(frames) && !cutOff(head) {
			continue
		}
		key := stackKey{label(labels, kindLabel), label(labels, nameLabel)}
		s := found[key]
		if s == nil {
			s = &stacks{}
			found[key] = s
		}
		if len(s.places) == maxPlaces {
			s.more++
			continue
		}
		n, _, _ := strings.Cut(head[strings.LastIndexByte(head, '\n')+1:], " ")
		s.places, s.counts = append(s.places, tidyStack(frames)), append(s.counts, n)
	}
	return found
}

// maxFrames is how many frames the runtime records (Go 1.26).
const maxFrames = 128

// cutOff reports whether a stack was too deep to be recorded to its root: then
// its labels are believed.
func cutOff(head string) bool {
	return strings.Count(head[strings.LastIndexByte(head, '\n')+1:], " 0x") >= maxFrames
}

func hasRootFrame(frames string) bool {
	for _, f := range rootFrames {
		if strings.Contains(frames, f) {
			return true
		}
	}
	return false
}

// label returns the value of a key in {"key":"value", "key":"value"}.
func label(labels, key string) string {
	_, rest, ok := strings.Cut(labels, strconv.Quote(key)+":")
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

// tidyStack turns "#\t0x4f\tmain.f+0x2f\t\t/src/a.go:7" into two lines as a
// panic prints them, and leaves out the frames below the user's own.
func tidyStack(frames string) string {
	var b strings.Builder
	end := 0 // after the last frame that is not a wrapper of ours
	for line := range strings.Lines(frames) {
		fields := strings.Fields(line)
		if len(fields) < 4 || fields[0] != "#" || b.Len() > maxStack {
			continue
		}
		if hasRootFrame(line) {
			break
		}
		fn, _, _ := strings.Cut(fields[2], "+0x")
		b.WriteString("  " + fn + "\n      " + strings.Join(fields[3:], " ") + "\n")
		if !isWrapper(fn) {
			end = b.Len()
		}
	}
	if end == 0 {
		return b.String()
	}
	return b.String()[:end]
}

// isWrapper recognises the closures that stand between the first frame of a
// goroutine and the user's function.
func isWrapper(fn string) bool {
	return strings.Contains(fn, "lastcall.(*Group).") || strings.Contains(fn, "lastcall.(*process).") || strings.Contains(fn, "lastcall/task.Handle[")
}
