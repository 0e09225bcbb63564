package lastcall

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

// newRegistry returns a registry that belongs to no group.
func newRegistry() *registry {
	r := &registry{}
	r.init()
	return r
}

func (r *registry) mustFind(t *testing.T, kind EntryKind, name string) *site {
	t.Helper()
	s := r.find(kind, name)
	if s == nil {
		t.Fatalf("%s %s has no site", kind, name)
	}
	return s
}

func TestRegistry_CountsRunningGoroutinesByKindAndName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRegistry()
		work := r.keep(&site{kind: EntryGo, name: "work", callSite: "a/b.go:1"})
		loop := r.keep(&site{kind: EntryLoop, name: "work", callSite: "a/b.go:2"})
		old := r.add(work, nil)
		time.Sleep(time.Minute)
		for range 2 * shardCount {
			r.add(work, nil)
		}
		r.add(loop, nil)
		time.Sleep(time.Second)
		got := r.running()
		if names(got) != "go work x129, loop work" || got[0].Age != time.Minute+time.Second || got[0].CallSite != "a/b.go:1" || got[1].Age != time.Second {
			t.Errorf("%v", got)
		}
		r.remove(old)
		if got := r.running(); names(got) != "go work x128, loop work" || got[0].Age != time.Second {
			t.Errorf("after the oldest has returned: %v", got)
		}
	})
}

func TestRegistry_NotesHowGoroutinesEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRegistry()
		s := r.keep(&site{kind: EntryGo, name: "work"})
		first := r.add(s, nil)
		time.Sleep(time.Second)
		second := r.add(s, nil)
		third := r.add(s, nil)
		time.Sleep(time.Second)
		r.note(second, errBroken, true)
		r.note(first, errors.New("a later error"), true)
		r.note(third, nil, false)
		finished, interrupted := r.noted()
		if names(finished) != "go work" || names(interrupted) != "go work x2" {
			t.Fatalf("finished %v, interrupted %v", finished, interrupted)
		}
		if e := interrupted[0]; e.Age != 2*time.Second || !errors.Is(e.Err, errBroken) {
			t.Errorf("the oldest is %v old, the first error is %v", e.Age, e.Err)
		}
	})
}

func TestRegistry_KeepsTheFirstSiteOfAName(t *testing.T) {
	r := newRegistry()
	if s := r.find(EntryGo, "work"); s != nil {
		t.Errorf("found %+v", s)
	}
	first := r.keep(&site{kind: EntryGo, name: "work"})
	if got := r.keep(&site{kind: EntryGo, name: "work"}); got != first {
		t.Error("a second site of the name was kept")
	}
	for _, kind := range []EntryKind{EntryLoop, EntryBackground, EntryServer, EntrySetup} {
		if other := r.keep(&site{kind: kind, name: "work"}); other == first || r.mustFind(t, kind, "work") != other {
			t.Errorf("%s shares its names with another kind", kind)
		}
	}
	if r.mustFind(t, EntryGo, "work") != first {
		t.Error("the first site was replaced")
	}
}

func TestRegistry_BoundsTheNamesThatItKeeps(t *testing.T) {
	r := newRegistry()
	for i := range maxNames + maxStray + 500 {
		s := r.keep(&site{kind: EntryGo, name: fmt.Sprint(i)})
		if s.kept != (i < maxNames) {
			t.Fatalf("name %d, kept: %v", i, s.kept)
		}
		r.note(r.add(s, nil), nil, false)
	}
	if finished, _ := r.noted(); len(r.named) != maxNames || len(finished) != maxNames+maxStray {
		t.Errorf("%d names, %d entries", len(r.named), len(finished))
	}
}
