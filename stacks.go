package lastcall

import (
	"iter"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/lastcall-go/lastcall/internal/stackdump"
)

// maxDumpTime bounds the goroutine profile, whose cost grows with the number
// of goroutines in the process.
const maxDumpTime = 2 * time.Second

// maxStack bounds one stack in a report.
const maxStack = 16 << 10

// addStacks adds to each entry the stacks of its goroutines, which take returns. If it takes longer
// than the timeout, it continues in the background and the entries get no stacks. A
// goroutine belongs to an entry if it has the labels of the group and the name, and one of
// rootFrames in its stack: the labels alone would also match the goroutines that the
// user's code started.
func addStacks(entries []Entry, group uint64, timeout time.Duration, take func() iter.Seq[stackdump.Record]) {
	if len(entries) == 0 || timeout <= 0 {
		return
	}
	profile := make(chan iter.Seq[stackdump.Record], 1)
	go func() { profile <- take() }()
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	select {
	case records := <-profile:
		stacks := findStacks(records, strconv.FormatUint(group, 10))
		for i := range entries {
			entries[i].Stack = stacks[stackKey{string(entries[i].Kind), entries[i].label}].String()
		}
	case <-timer.C:
	}
}

// stackKey is the kind and the name in the labels of a goroutine.
type stackKey struct{ kind, name string }

// stacks are the different stacks of the goroutines of one name.
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

// findStacks returns the stacks of a group's goroutines.
func findStacks(records iter.Seq[stackdump.Record], group string) map[stackKey]*stacks {
	found := map[stackKey]*stacks{}
	for r := range records {
		if r.Label(groupLabel) != group {
			continue
		}
		stack, ours := userStack(r)
		if !ours {
			continue
		}
		key := stackKey{r.Label(kindLabel), r.Label(nameLabel)}
		s := found[key]
		if s == nil {
			s = &stacks{}
			found[key] = s
		}
		if len(s.places) == maxPlaces {
			s.more++
			continue
		}
		s.places, s.counts = append(s.places, stack), append(s.counts, r.Count())
	}
	return found
}

// userStack returns the user's part of a stack, without the frames of this package that
// called it, and reports whether there are such frames. If the runtime recorded a deep
// stack without its root, it reports true: the labels must be enough then.
func userStack(r stackdump.Record) (stack string, ours bool) {
	var b strings.Builder
	ours = r.Truncated()
	end := 0 // after the last frame that is not a wrapper of this package
	for f := range r.Frames() {
		if isRoot(f.Func) {
			ours = true
			break
		}
		if b.Len() > maxStack {
			continue
		}
		b.WriteString(f.String())
		if !isWrapper(f.Func) {
			end = b.Len()
		}
	}
	if end == 0 {
		end = b.Len()
	}
	return b.String()[:end], ours
}

// rootFrames are the functions of this module that call the user's functions. A worker of
// package task calls handlers in goroutines that it starts itself: if a worker is abandoned,
// its handlers are what hangs.
var rootFrames = []string{
	"/lastcall.(*Group).run",
	"/lastcall.closer.call",
	"/lastcall.(*httpServer).ServeHTTP",
	"/lastcall/task.(*Worker).execute",
}

func isRoot(fn string) bool {
	return slices.ContainsFunc(rootFrames, func(root string) bool { return strings.HasSuffix(fn, root) })
}

// isWrapper reports whether a function is one of the closures between the first frame of
// a goroutine and the user's function.
func isWrapper(fn string) bool {
	return strings.Contains(fn, "lastcall.(*Group).") || strings.Contains(fn, "lastcall.(*process).") || strings.Contains(fn, "lastcall/task.Handle[")
}
