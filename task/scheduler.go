package task

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/lastcall-go/lastcall"
	"github.com/lastcall-go/lastcall/internal/safelog"
)

// SchedulerConfig configures a scheduler. Store and Name are required.
type SchedulerConfig struct {
	// Store has the schedules and their tasks. The caller closes it, after Serve has returned.
	Store Store
	// Name is the name of the set of schedules, usually the service's. All processes with this name
	// have the same schedules, or are of two versions. Letters, digits and . _ -, at most 100 of them.
	Name string
	// Schedules are all schedules of the set. If there are none, those that existed are removed.
	Schedules []ScheduleEntry
	// Revision orders the versions of the set: the highest one counts. Without it, contents that the
	// set never had count, and contents that it had before are an older version: docs/schedules.md
	// describes what that means for a rollout, a rollback and a restart.
	Revision int64
	// Clock, if set, replaces time.Now, for tests. The store's clock counts where it is behind.
	Clock func() time.Time
	// Logger logs changes of the set, and ticks that are left out. Nil means slog.Default().
	Logger *slog.Logger
}

// Scheduler makes the tasks of schedules. Any number of processes may have one for the same set:
// each tick makes one task, and there is no leader.
//
// [Client.Use] and other middleware of clients do not apply to these tasks, because no client
// enqueues them.
type Scheduler struct {
	store    Store
	log      *slog.Logger
	set      string
	revision int64
	digest   string
	sorted   []*scheduled
	entries  map[string]*scheduled
	clock    func() time.Time

	generation string    // of the set, while it is of this process's version
	alive      time.Time // when this process last reported to the store
	// Since when another version, which counts, was not heard of; zero: none counts.
	standing time.Time
	other    string    // the generation of that version
	heard    int64     // and its beats, as they were heard last
	last     time.Time // the clock that counted at the last look
}

// The times of a scheduler.
const (
	// lookAtLeast is the longest time between two polls: changes by others are seen then.
	lookAtLeast = time.Second
	// lookPace is the shortest time between two polls that found something: ticks share transactions.
	lookPace = 75 * time.Millisecond
	// aliveEvery is how often this process reports to the store that there is a process of this
	// version. If no process of it was heard of for the time silence, an older version takes over.
	aliveEvery = 5 * time.Second
	silence    = 30 * time.Second
	// dueStep bounds the due schedules that are read at a time, tickStep those of a transaction.
	dueStep  = 2000
	tickStep = 500
	// maxFormer bounds the former versions that a set remembers.
	maxFormer = 50
)

// NewScheduler checks the configuration and returns a scheduler that does nothing until Serve is
// called.
func NewScheduler(cfg SchedulerConfig) (*Scheduler, error) {
	if cfg.Store == nil {
		return nil, invalid("scheduler: Store must be set")
	}
	if err := checkName("set of schedules", cfg.Name); err != nil {
		return nil, err
	}
	if strings.Contains(cfg.Name, "/") {
		return nil, invalid("set of schedules %q must have no slash: it stands before one in SET/NAME", cfg.Name)
	}
	if len(cfg.Schedules) > MaxSchedules {
		return nil, invalid("set of schedules %q has %d, at most %d are kept: use several sets", cfg.Name, len(cfg.Schedules), MaxSchedules)
	}
	s := &Scheduler{store: cfg.Store, log: safelog.New(cfg.Logger), set: cfg.Name, revision: cfg.Revision,
		entries: make(map[string]*scheduled, len(cfg.Schedules)), clock: cfg.Clock}
	if s.clock == nil {
		s.clock = time.Now
	}
	former := make(map[string]string)
	for _, e := range cfg.Schedules {
		c, err := e.check(cfg.Name)
		if err != nil {
			return nil, err
		}
		if s.entries[c.name] != nil {
			return nil, invalid("two schedules of the set %s are called %q: give each a name", cfg.Name, c.name)
		}
		if other := former[c.former]; c.former != "" && other != "" {
			return nil, invalid("schedules %q and %q have the same former name %q", other, c.name, c.former)
		}
		former[c.former] = c.name
		s.entries[c.name] = c
		s.sorted = append(s.sorted, c)
	}
	slices.SortFunc(s.sorted, func(a, b *scheduled) int { return cmp.Compare(a.name, b.name) })
	s.digest = digestOf(s.sorted)
	return s, nil
}

// Serve makes ticks until last call, or until ctx ends. It is meant for [lastcall.Group.Go]. A stop
// leaves no tick half done: a tick is made or it is not, and the next process makes those that came
// meanwhile, as each schedule's Missed says. Serve returns an error if the store does not answer at
// the start; later errors are logged, and it goes on. Serve may be called once.
func (s *Scheduler) Serve(ctx context.Context) error {
	lastCall := lastcall.LastCall(ctx)
	if lastCall == nil {
		lastCall = ctx.Done()
	}
	wait, err := s.Look(ctx)
	if err != nil && ctx.Err() == nil {
		return fmt.Errorf("task: schedules of %s: %w", s.set, err)
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for failed := false; ; {
		select {
		case <-lastCall:
			return nil
		case <-ctx.Done():
			return nil
		case <-timer.C:
		}
		wait, err = s.Look(ctx)
		switch {
		case err == nil:
			if failed {
				s.log.Info("schedules go on", "set", s.set)
			}
		case ctx.Err() != nil || errors.Is(err, ErrClosed):
			return nil
		case !failed:
			s.log.Error("schedules stand still; trying again", "set", s.set, "error", err)
		}
		failed = err != nil
		timer.Reset(wait)
	}
}

// Look makes what is due now, and returns how long there is nothing to do. Serve calls it again and
// again; call it in a test, or from a loop of your own, and never twice at the same time.
func (s *Scheduler) Look(ctx context.Context) (wait time.Duration, err error) {
	now := s.clock()
	alive := now.Sub(s.alive) >= aliveEvery || now.Before(s.alive)
	reply, err := s.store.DueSchedules(ctx, DueRequest{Set: s.set, Generation: s.generation, Clock: now, Alive: alive, Max: dueStep})
	if err != nil {
		s.standing = time.Time{} // what it would have seen meanwhile is not known
		return lookAtLeast, err
	}
	if s.generation == "" || reply.Set.Generation != s.generation {
		return s.take(ctx, reply)
	}
	if alive {
		s.alive = now
	}
	if back := s.last.Sub(reply.Now); !s.last.IsZero() && back > missedAfter {
		s.log.Warn("the clock went back; the next ticks are computed again", "set", s.set, "by", back.Round(time.Second))
		s.last = reply.Now
		return s.put(ctx, reply)
	}
	s.last = reply.Now
	lost, err := s.tick(ctx, reply)
	if err != nil {
		return lookAtLeast, err
	}
	pace := lookPace
	if lost { // let the others make theirs
		pace += rand.N(lookPace / 2)
	}
	switch {
	case reply.Wait < 0:
		return lookAtLeast, nil
	case len(reply.Due) == 0:
		pace = 0
	case reply.Wait == 0: // there are more
		return time.Millisecond, nil
	}
	return min(max(pace, reply.Wait), lookAtLeast), nil
}

// tick makes the ticks that are due, and reports whether other processes were faster with some.
func (s *Scheduler) tick(ctx context.Context, reply DueReply) (lost bool, err error) {
	// Processes that look at the same moment find the same ticks: each begins with others.
	rand.Shuffle(len(reply.Due), func(i, j int) { reply.Due[i], reply.Due[j] = reply.Due[j], reply.Due[i] })
	for step := range slices.Chunk(reply.Due, tickStep) {
		req := TickRequest{Set: s.set, Generation: s.generation, Clock: s.clock()}
		var leftOut []int
		for _, d := range step {
			if e := s.entries[d.Name]; e != nil { // all of the generation are
				t, n := e.plan(d, reply.Now, reply.Set.Salt)
				req.Ticks, leftOut = append(req.Ticks, t), append(leftOut, n)
			}
		}
		results, err := s.store.Tick(ctx, req)
		if err != nil {
			return lost, err
		}
		for i, r := range results {
			t := &req.Ticks[i]
			lost = lost || !r.Made && r.Unfinished == ""
			switch {
			case r.Made && r.Unfinished != "":
				s.log.Info("tick left out: the task before has not ended", "schedule", s.set+"/"+t.Name, "tick", t.At, "task", r.Unfinished)
			case r.Made && leftOut[i] > 0:
				s.log.Warn("ticks were missed and are left out", "schedule", s.set+"/"+t.Name, "since", t.At, "ticks", leftOut[i])
			}
		}
	}
	return lost, nil
}

// take handles a set that is not of this process's generation: it makes it so, unless another
// version counts.
func (s *Scheduler) take(ctx context.Context, reply DueReply) (time.Duration, error) {
	set := reply.Set
	switch {
	case set.Generation == "":
	case set.Digest == s.digest && set.Revision == s.revision:
		s.adopt(set.Generation)
		return 0, nil
	case s.newer(set):
	default:
		now := s.clock()
		if s.standing.IsZero() || now.Before(s.standing) || set.Beats != s.heard || set.Generation != s.other {
			if s.other != set.Generation {
				s.log.Warn("schedules are of a newer version, which makes their ticks", "set", s.set, "revision", set.Revision)
			}
			s.standing, s.heard, s.other = now, set.Beats, set.Generation
		}
		if now.Sub(s.standing) < silence {
			return lookAtLeast, nil
		}
		s.log.Warn("schedules of a newer version are taken over: none of its processes was heard of", "set", s.set, "for", silence)
	}
	return s.put(ctx, reply)
}

// newer reports whether this process's version comes after that of a set.
func (s *Scheduler) newer(set ScheduleSet) bool {
	if s.revision != set.Revision {
		return s.revision > set.Revision
	}
	return !slices.Contains(set.Former, s.digest)
}

// put gives the set the contents of this process's version.
func (s *Scheduler) put(ctx context.Context, reply DueReply) (time.Duration, error) {
	set := reply.Set
	put := SchedulesPut{Was: set.Generation, Renamed: make(map[string]string), Schedules: make([]ScheduleRecord, len(s.sorted)),
		ScheduleSet: ScheduleSet{Name: s.set, Generation: newID(), Revision: s.revision, Digest: s.digest, Salt: cmp.Or(set.Salt, newID())}}
	put.Former = slices.DeleteFunc(slices.Clone(set.Former), func(d string) bool { return d == s.digest || d == set.Digest })
	if set.Digest != "" && set.Digest != s.digest {
		put.Former = append(put.Former, set.Digest)
	}
	put.Former = put.Former[max(0, len(put.Former)-maxFormer):]
	for i, e := range s.sorted {
		put.Schedules[i] = ScheduleRecord{Name: e.name, Timing: e.timing, Words: e.words, Template: e.encoded, Next: nextTick(e.schedule, reply.Now)}
		if e.former != "" && s.entries[e.former] == nil {
			put.Renamed[e.name] = e.former
		}
	}
	set, err := s.store.PutSchedules(ctx, put)
	if err != nil {
		return lookAtLeast, err
	}
	if set.Generation == put.Generation {
		s.log.Info("schedules are set", "set", s.set, "schedules", len(s.sorted), "revision", s.revision)
		s.adopt(set.Generation)
	}
	return 0, nil
}

// adopt has this process make the ticks of a generation.
func (s *Scheduler) adopt(generation string) {
	s.generation, s.other, s.standing, s.alive = generation, "", time.Time{}, time.Time{}
}
