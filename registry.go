package lastcall

import (
	"context"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// EntryKind is what a line of a Report is about.
type EntryKind string

// The kinds of what a group waits for.
const (
	EntrySetup      EntryKind = "setup"
	EntryGo         EntryKind = "go"
	EntryLoop       EntryKind = "loop"
	EntryBackground EntryKind = "background"
	EntryServer     EntryKind = "server"
	EntryRequest    EntryKind = "request"
	EntryConnection EntryKind = "connection"
	EntryCloser     EntryKind = "closer"
)

// registry knows every goroutine of a group that has not returned: its name,
// its start and where it was started. It is made for millions of short ones:
// what they share (name, labels, context, start site) stands in a site, which
// is made once per name; what is left is one small entry in a sharded list.
type registry struct {
	sites  [5]atomic.Pointer[map[string]*site] // by siteTable; copied on write
	mu     sync.Mutex                          // guards named and stray, and the writing of sites
	named  []*site
	stray  []*site // sites of names beyond maxNames that ended during the stop
	shards [shardCount]shard
}

const (
	shardCount = 64
	maxNames   = 1024 // names whose site is kept; more are made anew each time
	maxStray   = 1024 // lines that such names may fill in a report
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
	start      int64 // nanoseconds since Group.base
	shard      uint32
}

// site is what all goroutines of one kind and name share.
type site struct {
	group *Group
	kind  EntryKind
	name  string
	where string // file:line of the call that used the name first
	ctx   context.Context
	kept  bool

	// Written during a stop only.
	finished    atomic.Int64
	interrupted atomic.Int64
	oldest      atomic.Int64 // start of the oldest interrupted one, plus one
	err         atomic.Pointer[error]
}

func (r *registry) init() {
	for i := range r.shards {
		root := &r.shards[i].root
		root.next, root.prev = root, root
	}
}

func (r *registry) insert(e *goroutine) {
	e.shard = rand.Uint32() % shardCount
	s := &r.shards[e.shard]
	s.mu.Lock()
	e.prev, e.next = &s.root, s.root.next
	s.root.next.prev = e
	s.root.next = e
	s.mu.Unlock()
}

func (r *registry) remove(e *goroutine) {
	s := &r.shards[e.shard]
	s.mu.Lock()
	e.prev.next, e.next.prev = e.next, e.prev
	s.mu.Unlock()
}

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

// site returns the site of a name, which it makes when it is new. skip is the
// number of frames between the caller and the user's code.
func (g *Group) site(end context.Context, kind EntryKind, name string, skip int) *site {
	table := &g.registry.sites[siteTable(kind)]
	if m := table.Load(); m != nil {
		if s := (*m)[name]; s != nil {
			return s
		}
	}
	where := callSite(skip + 1)
	if name == "" {
		name = where
	}
	s := &site{group: g, kind: kind, name: name, where: where}
	s.ctx = pprof.WithLabels(&splice{values: g.values, end: end, group: g}, g.labels(kind, name))

	r := &g.registry
	r.mu.Lock()
	defer r.mu.Unlock()
	old := map[string]*site{}
	if m := table.Load(); m != nil {
		old = *m
	}
	if first := old[name]; first != nil {
		return first
	}
	if len(r.named) >= maxNames {
		return s
	}
	s.kept = true
	r.named = append(r.named, s)
	next := maps.Clone(old)
	next[name] = s
	table.Store(&next)
	return s
}

// The labels that a goroutine profile shows. Goroutines that a labelled one
// starts inherit them, so they say who began something, not who must end it.
const (
	nameLabel  = "lastcall"
	kindLabel  = "lastcall.kind"
	groupLabel = "lastcall.group"
)

func (g *Group) labels(kind EntryKind, name string) pprof.LabelSet {
	return pprof.Labels(nameLabel, name, kindLabel, string(kind), groupLabel, strconv.FormatUint(g.id, 10))
}

// note counts the end of a goroutine during a stop.
func (s *site) note(start int64, err error, cut bool) {
	if !s.kept {
		s.group.registry.keepStray(s)
	}
	if !cut {
		s.finished.Add(1)
		return
	}
	s.interrupted.Add(1)
	for {
		old := s.oldest.Load()
		if old != 0 && old <= start+1 || s.oldest.CompareAndSwap(old, start+1) {
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

// all returns the sites that a report can speak of.
func (r *registry) all() []*site {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append(append([]*site(nil), r.named...), r.stray...)
}

// alive returns a line for each name that has goroutines which have not
// returned, with how many and the age of the oldest.
func (g *Group) alive() []Entry {
	lines := map[*site]*Entry{}
	now := g.now()
	var order []*site
	for i := range g.registry.shards {
		s := &g.registry.shards[i]
		s.mu.Lock()
		for e := s.root.next; e != &s.root; e = e.next {
			l := lines[e.site]
			if l == nil {
				l = &Entry{Kind: e.site.kind, Name: e.site.name, Site: e.site.where, label: e.site.name}
				lines[e.site] = l
				order = append(order, e.site)
			}
			l.Count++
			l.Age = max(l.Age, time.Duration(now-e.start))
		}
		s.mu.Unlock()
	}
	out := make([]Entry, 0, len(order))
	for _, s := range order {
		out = append(out, *lines[s])
	}
	sortLines(out)
	return out
}

// now is the time since the group was made, in nanoseconds.
func (g *Group) now() int64 { return int64(time.Since(g.base)) }

// callSite returns "folder/file.go:line" of a caller, 1 being the caller of
// callSite.
func callSite(skip int) string {
	_, file, line, ok := runtime.Caller(skip)
	if !ok {
		return "unknown"
	}
	dir, base := filepath.Split(file)
	return filepath.Join(filepath.Base(dir), base) + ":" + strconv.Itoa(line)
}
