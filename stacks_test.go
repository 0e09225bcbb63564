package lastcall

import (
	"bytes"
	"context"
	"fmt"
	"iter"
	"runtime/pprof"
	"strings"
	"testing"
	"time"

	"github.com/lastcall-go/lastcall/internal/stackdump"
)

// oddNames are names that a profile must quote.
var oddNames = []string{
	"plain", `with "quotes"`, "with\nnewlines\n\n# labels: {}", "grüße 任务 🚀", `{"lastcall":"fake"}`, `back\slash`, "tab\tand\x00nul", `"`, "a, b: c", "\xff not utf-8",
}

func TestStacks_AbandonedGoroutinesShowTheirStacksWhateverTheirNames(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g, _ := newTestGroup(t)
		letGo := make(chan struct{})
		defer close(letGo)
		for _, name := range oddNames {
			mustStart(t, g.Go(name, func(context.Context) error { standHere(letGo); return nil }))
			mustStart(t, g.Background(t.Context(), name, func(context.Context) error { standThere(letGo); return nil }))
		}
		g.Stop(nil)
		r := g.Wait()
		if len(r.Abandoned) != 2*len(oddNames) {
			t.Fatalf("%d entries", len(r.Abandoned))
		}
		for _, l := range r.Abandoned {
			want := "lastcall.standHere"
			if l.Kind == EntryBackground {
				want = "lastcall.standThere"
			}
			if !strings.Contains(l.Stack, want) || !strings.Contains(l.Stack, "stacks_test.go:") {
				t.Errorf("%s %q: stack %q", l.Kind, l.Name, l.Stack)
			}
			if strings.Contains(l.Stack, "lastcall.(*Group)") || strings.Contains(l.Stack, "goroutine.go") {
				t.Errorf("%q shows the group's own frames:\n%s", l.Name, l.Stack)
			}
		}
	})
}

//go:noinline
func standHere(until <-chan struct{}) { <-until }

//go:noinline
func standThere(until <-chan struct{}) { <-until }

//go:noinline
func deep(n int, until <-chan struct{}) {
	if n > 0 {
		deep(n-1, until)
		return
	}
	<-until
}

func TestStacks_ADeepStackIsShownFromItsTop(t *testing.T) {
	for _, depth := range []int{20, 110, 1000} { // the runtime records 128 frames
		bubble(t, func(t *testing.T) {
			g, _ := newTestGroup(t)
			letGo := make(chan struct{})
			defer close(letGo)
			mustStart(t, g.Go("deep", func(context.Context) error { deep(depth, letGo); return nil }))
			g.Stop(nil)
			r := g.Wait()
			if stack := r.Abandoned[0].Stack; strings.Count(stack, "lastcall.deep\n") < 20 {
				t.Errorf("depth %d: %q", depth, stack)
			}
		})
	}
}

func TestStacks_GoroutinesAtManyPlacesAreCountedByPlace(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g, _ := newTestGroup(t)
		letGo := make(chan struct{})
		defer close(letGo)
		for range 3 {
			mustStart(t, g.Go("work", func(context.Context) error { standHere(letGo); return nil }))
		}
		for depth := range 12 {
			mustStart(t, g.Go("work", func(context.Context) error { deep(depth, letGo); return nil }))
		}
		g.Stop(nil)
		r := g.Wait()
		stack := r.Abandoned[0].Stack
		if r.Abandoned[0].Count != 15 || !strings.Contains(stack, "  3 at\n  ") || !strings.Contains(stack, "  1 at\n  ") ||
			!strings.Contains(stack, "  and at 5 other places\n") {
			t.Errorf("%d:\n%s", r.Abandoned[0].Count, stack)
		}
	})
}

func TestStacks_OfOtherGroupsAndOfChildrenAreNotTaken(t *testing.T) {
	bubble(t, func(t *testing.T) {
		letGo := make(chan struct{})
		defer close(letGo)
		other, _ := newTestGroup(t)
		mustStart(t, other.Go("work", func(context.Context) error { standHere(letGo); return nil }))
		g, _ := newTestGroup(t)
		mustStart(t, g.Go("work", func(context.Context) error {
			go standHere(letGo) // the goroutine inherits the labels
			standThere(letGo)
			return nil
		}))
		g.Stop(nil)
		if stack := g.Wait().Abandoned[0].Stack; !strings.Contains(stack, "standThere") || strings.Contains(stack, "standHere") {
			t.Errorf("%s", stack)
		}
		other.Stop(nil)
		other.Wait()
	})
}

func TestStacks_WithoutTimeForADumpTheLinesStayWithoutStacks(t *testing.T) {
	entries := []Entry{{Kind: EntryGo, Name: "work"}}
	addStacks(entries, 1, 0, stackdump.Take)
	addStacks(nil, 1, time.Second, stackdump.Take)
	if entries[0].Stack != "" {
		t.Errorf("%q", entries[0].Stack)
	}
}

// oneRecord returns a record with these frames, of a goroutine of group 7.
func oneRecord(frames string) iter.Seq[stackdump.Record] {
	return stackdump.Parse("1 @ 0x1\n# labels: {\"lastcall\":\"a\", \"lastcall.group\":\"7\", \"lastcall.kind\":\"go\"}\n" + frames + "\n\n")
}

func TestStacks_AHugeStackIsCut(t *testing.T) {
	var frames strings.Builder
	for i := range 5000 {
		fmt.Fprintf(&frames, "#\t0x4f\tmain.f%d+0x2f\t\t/src/a.go:%d\n", i, i)
	}
	frames.WriteString(rootLine)
	for r := range oneRecord(frames.String()) {
		if got, ours := userStack(r); !ours || len(got) > maxStack+200 || !strings.HasPrefix(got, "  main.f0\n      /src/a.go:0\n") {
			t.Errorf("%d bytes, ours: %v", len(got), ours)
		}
	}
}

const rootLine = "#\t0x1\tgithub.com/lastcall-go/lastcall.(*Group).run+0x1\t/b.go:2\n"

func TestUserStack_LeavesOutTheFramesOfTheGroup(t *testing.T) {
	const user = "#\t0x1\tmain.f+0x1\t/a.go:1\n"
	const wrapper = "#\t0x1\tgithub.com/lastcall-go/lastcall.(*Group).Background.func1+0x1\t/c.go:3\n"
	for _, c := range []struct {
		frames, want string
		ours         bool
	}{
		{user + rootLine, "  main.f\n      /a.go:1\n", true},
		{user + wrapper + rootLine + user, "  main.f\n      /a.go:1\n", true},
		{wrapper + user + rootLine, "  github.com/lastcall-go/lastcall.(*Group).Background.func1\n      /c.go:3\n  main.f\n      /a.go:1\n", true},
		{user, "  main.f\n      /a.go:1\n", false}, // a goroutine that a goroutine of the group started
	} {
		for r := range oneRecord(c.frames) {
			if got, ours := userStack(r); got != c.want || ours != c.ours {
				t.Errorf("%q: %q, %v", c.frames, got, ours)
			}
		}
	}
}

// FuzzStacks_AreFoundInAnyText checks that no profile makes findStacks panic, and that the size of
// its result is bounded.
func FuzzStacks_AreFoundInAnyText(f *testing.F) {
	var b bytes.Buffer
	if err := pprof.Lookup("goroutine").WriteTo(&b, 1); err != nil {
		f.Fatal(err)
	}
	f.Add(b.String())
	f.Add("1 @ 0x1\n# labels: {\"lastcall\":\"a\", \"lastcall.group\":\"7\", \"lastcall.kind\":\"go\"}\n#\t0x1\tmain.f+0x1\t/a.go:1\n" + rootLine + "\n")
	f.Add("\n\n# labels: \n\n\n# labels: {\"lastcall.group\":\"7\"}\n" + rootLine)
	f.Fuzz(func(t *testing.T, profile string) {
		for key, s := range findStacks(stackdump.Parse(profile), "7") {
			if len(s.places) == 0 || len(s.places) > maxPlaces || len(s.places) != len(s.counts) {
				t.Errorf("%v: %d places, %d counts", key, len(s.places), len(s.counts))
			}
			_ = s.String()
		}
	})
}
