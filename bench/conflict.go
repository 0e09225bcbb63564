package main

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"

	"github.com/lastcall-go/lastcall/task"
)

// conflicts is how many tasks a phase enqueues in calls of perCall, and singles how many it
// enqueues in calls of their own.
const (
	conflicts = 50_000
	singles   = 2_000
)

// phase is a part of the measure: what happens to new tasks, all of which have keys.
type phase struct {
	name string
	opt  task.EnqueueOptions
	want task.Outcome
}

// phases run one after the other with the same keys. The tasks of a debounce wait for a minute.
var phases = []phase{
	{"new", task.EnqueueOptions{KeyFor: 10 * time.Minute}, task.OutcomeAdded},
	{"existing", task.EnqueueOptions{}, task.OutcomeExisting},
	{"discard", task.EnqueueOptions{OnConflict: task.Discard}, task.OutcomeDiscarded},
	{"replace", task.EnqueueOptions{OnConflict: task.Replace}, task.OutcomeReplaced},
	{"replace, debounced", task.EnqueueOptions{OnConflict: task.Replace, Delay: time.Minute}, task.OutcomeReplaced},
}

// The names of the figures of a phase.
func inCalls(phase string) string  { return phase + " /s" }
func oneByOne(phase string) string { return phase + ", one by one /s" }

// inPhases measures each phase, in calls of perCall and one by one. enqueue enqueues n tasks under
// the keys numbered from the given number on.
func inPhases(db database, phases []string, enqueue func(phase string, from, n int) error) (figures, error) {
	all := make(figures)
	for _, size := range []int{perCall, 1} {
		n, first, name := conflicts/load, 0, inCalls
		if size == 1 {
			n, first, name = singles/min(load, 20), conflicts, oneByOne
		}
		for _, phase := range phases {
			found, err := clocked(db, n, func() error {
				for made := 0; made < n; made += size {
					if err := enqueue(phase, first+made, min(size, n-made)); err != nil {
						return err
					}
				}
				return nil
			})
			if err != nil {
				return nil, fmt.Errorf("%s: %w", phase, err)
			}
			all[name(phase)], all[phaseProcessor(name(phase))] = found[perSecond], found[processor]
		}
	}
	return all, nil
}

// phaseProcessor returns the name of the processor-time figure that belongs to a rate's figure.
func phaseProcessor(rate string) string { return rate[:len(rate)-len(" /s")] + ", processor time us" }

func conflictsPostgres() (figures, error) {
	return onPostgres(func(store task.Store, db database) (figures, error) {
		client := task.NewClient(store)
		var names []string
		byName := make(map[string]phase)
		for _, p := range phases {
			names, byName[p.name] = append(names, p.name), p
		}
		return inPhases(db, names, func(name string, from, n int) error {
			p := byName[name]
			batch := make([]task.NewTask, n)
			for i := range batch {
				opt := p.opt
				opt.Key = strconv.Itoa(from + i)
				var err error
				if batch[i], err = named.Prepare(numbered{from + i}, &opt); err != nil {
					return err
				}
			}
			done, err := client.EnqueueMany(context.Background(), batch)
			if err != nil {
				return err
			}
			for _, d := range done {
				if d.Outcome != p.want {
					return fmt.Errorf("a task was %v", d.Outcome)
				}
			}
			return nil
		})
	})
}

// conflictsRiver inserts unique jobs, then the same ones once more. River must report each of the
// second ones as a duplicate.
func conflictsRiver() (figures, error) {
	w := keyed(conflicts)
	return onRiver(func(client *river.Client[pgx.Tx], _ *pgxpool.Pool, db database) (figures, error) {
		return inPhases(db, []string{"new", "existing"}, func(phase string, from, n int) error {
			inserted, err := client.InsertMany(context.Background(), riverBatch(w, from, n))
			if err != nil {
				return err
			}
			for _, i := range inserted {
				if i.UniqueSkippedAsDuplicate != (phase == "existing") {
					return fmt.Errorf("job %d: skipped as a duplicate: %v", i.Job.ID, i.UniqueSkippedAsDuplicate)
				}
			}
			return nil
		})
	}, w)
}

// conflictPromises compares each phase with River's insert of a new job, or of a duplicate.
func conflictPromises() (all []promise) {
	for _, name := range []func(string) string{inCalls, oneByOne} {
		for _, p := range phases {
			their := "existing"
			if p.want == task.OutcomeAdded {
				their = "new"
			}
			all = append(all, promise{what: name(p.name)[:len(name(p.name))-len(" /s")], ours: figure{ours, name(p.name)}, peer: figure{peer, name(their)}, least: 1})
		}
	}
	return all
}
