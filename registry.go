package lastcall

import (
	"context"
	"maps"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// registry knows every goroutine of a group that has not returned: its name,
// its start time and where it was started. It is designed for millions of short
// goroutines. What goroutines of one name share (name, labels, context, call site) is in one
// site; the rest is one small element in a sharded list.
type registry struct {
	base   time.Time                           // the time 0 of now
	sites  [5]atomic.Pointer[map[string]*site] // by siteTable; copied on write
	mu     sync.Mutex                          // guards named and stray, and the writing of sites
	named  []*site
	stray  []*site // sites of names beyond maxNames that ended during the stop
	shards [shardCount]shard

	earlier atomic.Int64 // how many marked goroutines have not returned
}

const (
	shardCount = 64
	maxNames   = 1024 // names whose site is kept; beyond them each goroutine gets a new site
	maxStray   = 1024 // limit of the entries in a report for names beyond maxNames
)

type shard struct {
	mu   sync.Mutex
	root goroutine // of a circular list
	_    [64]byte  // shards do not share a cache line
}

// goroutine is one goroutine that has not returned.
type goroutine struct {
	next, prev *goroutine
	site       *site
	fn         func(context.Context) error
	start      int64 // by registry.now
	shard      uint32
	earlier    bool // it keeps the listeners open; guarded by the shard's mutex
}

// site is what all goroutines of one kind and name share.
type site struct {
	kind     EntryKind
	name     string
	callSite string          // file:line of the call that used the name first
	ctx      context.Context // the goroutines' context
	kept     bool            // in registry.sites

	// Written during a stop only.
	finished    atomic.Int64
	interrupted atomic.Int64
	oldest      atomic.Int64 // start of the oldest interrupted one, plus one
	err         atomic.Pointer[error]
}

func (r *registry) init() {
	r.base = time.Now()
	for i := range r.shards {
		root := &r.shards[i].root
		root.next, root.prev = root, root
	}
}

// now is the time since init, in nanoseconds.
func (r *registry) now() int64 { return int64(time.Since(r.base)) }

// add starts to follow a goroutine.
func (r *registry) add(s *site, fn func(context.Context) error) *goroutine {
	added := &goroutine{site: s, fn: fn, start: r.now(), shard: rand.Uint32() % shardCount}
	sh := &r.shards[added.shard]
	sh.mu.Lock()
	added.prev, added.next = &sh.root, sh.root.next
	sh.root.next.prev = added
	sh.root.next = added
	sh.mu.Unlock()
	return added
}

// remove forgets a goroutine that has returned, and reports whether it was the last marked one.
func (r *registry) remove(old *goroutine) (last bool) {
	sh := &r.shards[old.shard]
	sh.mu.Lock()
	old.prev.next, old.next.prev = old.next, old.prev
	earlier := old.earlier
	sh.mu.Unlock()
	return earlier && r.earlier.Add(-1) == 0
}

// markEarlier marks the goroutines that run now, except those of servers. The listeners stay open
// until the marked ones have returned; goroutines that start later do not count.
func (r *registry) markEarlier() {
	for i := range r.shards {
		sh := &r.shards[i]
		sh.mu.Lock()
		for at := sh.root.next; at != &sh.root; at = at.next {
			if at.site.kind != EntryServer {
				at.earlier = true
				r.earlier.Add(1)
			}
		}
		sh.mu.Unlock()
	}
}

// earlierEnded reports whether every marked goroutine has returned.
func (r *registry) earlierEnded() bool { return r.earlier.Load() == 0 }

func siteTable(k EntryKind) int {
	switch k {
	case EntryGo:
		return 0
	case EntryLoop:
		return 1
	case EntryBackground:
		return 2
	case EntryServer:
		return 3
	}
	return 4
}

// find returns the site of a name, or nil.
func (r *registry) find(kind EntryKind, name string) *site {
	if m := r.sites[siteTable(kind)].Load(); m != nil {
		return (*m)[name]
	}
	return nil
}

// keep stores a site under its name and returns it. If another goroutine has stored one
// for the name meanwhile, it returns that one. If there are maxNames sites already, the site
// is returned but not stored.
func (r *registry) keep(s *site) *site {
	table := &r.sites[siteTable(s.kind)]
	r.mu.Lock()
	defer r.mu.Unlock()
	old := map[string]*site{}
	if m := table.Load(); m != nil {
		old = *m
	}
	if first := old[s.name]; first != nil {
		return first
	}
	if len(r.named) >= maxNames {
		return s
	}
	s.kept = true
	r.named = append(r.named, s)
	next := maps.Clone(old)
	next[s.name] = s
	table.Store(&next)
	return s
}

// note counts a goroutine that ended during a stop: as interrupted if it was cut off,
// else as finished.
func (r *registry) note(ended *goroutine, err error, cut bool) {
	s := ended.site
	if !s.kept {
		r.keepStray(s)
	}
	if !cut {
		s.finished.Add(1)
		return
	}
	s.interrupted.Add(1)
	for {
		old := s.oldest.Load()
		if old != 0 && old <= ended.start+1 || s.oldest.CompareAndSwap(old, ended.start+1) {
			break
		}
	}
	if err != nil && s.err.Load() == nil {
		s.err.CompareAndSwap(nil, &err)
	}
}

func (r *registry) keepStray(s *site) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.stray) < maxStray {
		r.stray = append(r.stray, s)
	}
}

// noted returns entries for the goroutines that note has counted.
func (r *registry) noted() (finished, interrupted []Entry) {
	r.mu.Lock()
	sites := append(append([]*site(nil), r.named...), r.stray...)
	r.mu.Unlock()
	for _, s := range sites {
		e := Entry{Kind: s.kind, Name: s.name, CallSite: s.callSite}
		if n := s.finished.Load(); n > 0 {
			e.Count = int(n)
			finished = append(finished, e)
		}
		if n := s.interrupted.Load(); n > 0 {
			e.Count = int(n)
			e.Age = time.Duration(r.now() - (s.oldest.Load() - 1))
			if err := s.err.Load(); err != nil {
				e.Err = *err
			}
			interrupted = append(interrupted, e)
		}
	}
	return finished, interrupted
}

// running returns an entry for each name with goroutines that have not
// returned: their number and the age of the oldest.
func (r *registry) running() []Entry {
	entries := map[*site]*Entry{}
	now := r.now()
	var order []*site
	for i := range r.shards {
		sh := &r.shards[i]
		sh.mu.Lock()
		for at := sh.root.next; at != &sh.root; at = at.next {
			s := at.site
			e := entries[s]
			if e == nil {
				e = &Entry{Kind: s.kind, Name: s.name, CallSite: s.callSite, label: s.name}
				entries[s] = e
				order = append(order, s)
			}
			e.Count++
			e.Age = max(e.Age, time.Duration(now-at.start))
		}
		sh.mu.Unlock()
	}
	out := make([]Entry, 0, len(order))
	for _, s := range order {
		out = append(out, *entries[s])
	}
	sortEntries(out)
	return out
}
