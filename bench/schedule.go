package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/lastcall-go/lastcall"
	"github.com/lastcall-go/lastcall/task"
)

// scheduling is the part of a process that serves schedules.
const scheduling = "schedule"

// schedulesEach is how many schedules there are. schedulers is how many processes serve all of
// them.
const (
	schedulesEach = 10_000
	schedulers    = 3
)

// The figures of schedules.
const (
	lateP99  = "late p99 ms"
	madeOnce = "ticks made once "
	eachOf   = "each process, of a core %"
)

// periodOf returns the time between two ticks of n schedules. A small n only checks that the
// measure works.
func periodOf(n int) time.Duration {
	if n < schedulesEach {
		return 3 * time.Second
	}
	return time.Minute
}

// periodic is due once in a period, at an offset after its begin.
type periodic struct{ period, after time.Duration }

func (p periodic) Next(t time.Time) time.Time {
	at := t.Truncate(p.period).Add(p.after)
	if !at.After(t) {
		at = at.Add(p.period)
	}
	return at
}

func (p periodic) String() string { return fmt.Sprint(p.period, " + ", p.after) }

// serveSchedules serves n schedules, spread over the period. Where n is negative, all -n are due at
// its begin.
func serveSchedules(g *lastcall.Group, store task.Store, n int) error {
	period, spread := periodOf(max(n, -n)), time.Duration(0)
	if n < 0 {
		n = -n
	} else {
		spread = period / time.Duration(n)
	}
	entries := make([]task.ScheduleEntry, n)
	for i := range entries {
		tick, err := task.Prepare("noop", []byte("{}"), nil)
		if err != nil {
			return err
		}
		entries[i] = task.ScheduleEntry{Name: fmt.Sprint("s", i), Schedule: periodic{period, time.Duration(i) * spread}, Task: tick}
	}
	s, err := task.NewScheduler(task.SchedulerConfig{Store: store, Name: "bench", Schedules: entries, Logger: quiet})
	if err != nil {
		return err
	}
	if err := g.Go("scheduler", s.Serve); err != nil {
		return err
	}
	_, err = fmt.Println("ready")
	return err
}

// schedules runs processes that make the ticks of two whole periods, and checks that each tick was
// made once. The commit timestamp shows how late it was.
func schedules(sign int) func() (figures, error) {
	return func() (figures, error) {
		return onPostgres(func(_ task.Store, db database) (found figures, err error) {
			n := max(schedulesEach/load, 1)
			var all []*process
			defer func() {
				for _, p := range all {
					p.end()
				}
			}()
			for range schedulers {
				p, err := startProcess(scheduling, db.dsn, sign*n)
				if err != nil {
					return nil, err
				}
				all = append(all, p)
				if err := p.await("ready"); err != nil {
					return nil, err
				}
			}
			const periods = 2
			period := periodOf(n)
			from := time.Now().Add(period / 6).Truncate(period).Add(period)
			to := from.Add(periods * period)
			time.Sleep(time.Until(from.Add(-period / 60)))
			before, err := spentBy(all)
			if err != nil {
				return nil, err
			}
			began := time.Now()
			time.Sleep(time.Until(to.Add(-period / 60)))
			after, err := spentBy(all)
			if err != nil {
				return nil, err
			}
			percent := (after - before).Seconds() / schedulers / time.Since(began).Seconds() * 100
			time.Sleep(time.Until(to) + period/10) // late ticks arrive meanwhile
			found, err = judgeTicks(db, from, to)
			return found.merge(figures{eachOf: percent}), err
		}, "track_commit_timestamp=on")
	}
}

// spentBy returns the processor time of processes.
func spentBy(all []*process) (sum time.Duration, err error) {
	for _, p := range all {
		t, err := ticks(p.cmd.Process.Pid, false)
		if err != nil {
			return 0, err
		}
		sum += t
	}
	return sum, nil
}

// judgeTicks checks the tasks that were created for a time span. A duplicate cancels out one tick.
func judgeTicks(db database, from, to time.Time) (found figures, err error) {
	ctx := context.Background()
	c, err := pgx.Connect(ctx, db.dsn)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, c.Close(ctx)) }()
	var (
		made, different int
		late            float64
	)
	err = c.QueryRow(ctx, `select count(*), count(distinct (schedule, tick)), coalesce(percentile_disc(0.99) within group (order by late), 0)
		from (select meta->>'lastcall.schedule' as schedule, meta->>'lastcall.tick' as tick,
			extract(epoch from case when current_setting('track_commit_timestamp') = 'on' then pg_xact_commit_timestamp(xmin) else created end - (meta->>'lastcall.tick')::timestamptz)::double precision as late
			from lastcall.tasks) t
		where tick::timestamptz >= $1 and tick::timestamptz < $2`, from, to).Scan(&made, &different, &late)
	return figures{madeOnce: float64(different - (made - different)), lateP99: late * 1000}, err
}
