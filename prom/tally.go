package prom

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/lastcall-go/lastcall/task"
)

// tally counts the tasks of a store at a scrape, at most once a second.
type tally struct {
	store task.Store

	mu  sync.Mutex // held during the count: scrapes at the same time share one
	at  time.Time
	now task.Counts
	all []task.StoredSchedule // without their templates
	err error
}

const (
	countTrusted  = time.Second
	countPatience = 5 * time.Second
)

func (c *tally) collect(ch chan<- prometheus.Metric) {
	counts, schedules, err := c.ask()
	if err != nil {
		ch <- prometheus.MustNewConstMetric(upDesc, prometheus.GaugeValue, 0)
		return
	}
	ch <- prometheus.MustNewConstMetric(upDesc, prometheus.GaugeValue, 1)
	for _, n := range counts.Tasks {
		ch <- prometheus.MustNewConstMetric(tasksDesc, prometheus.GaugeValue, float64(n.N), n.Queue, n.Kind, string(n.Status))
	}
	ch <- prometheus.MustNewConstMetric(suspectsDesc, prometheus.GaugeValue, float64(counts.SuspectsWaiting), "waiting")
	ch <- prometheus.MustNewConstMetric(suspectsDesc, prometheus.GaugeValue, float64(counts.SuspectsRunning), "running")
	for _, s := range schedules {
		collectSchedule(ch, s)
	}
}

func collectSchedule(ch chan<- prometheus.Metric, s task.StoredSchedule) {
	paused := 0.0
	if s.Paused {
		paused = 1
	}
	ch <- prometheus.MustNewConstMetric(suspendedDesc, prometheus.GaugeValue, paused, s.Set, s.Name)
	for desc, at := range map[*prometheus.Desc]time.Time{nextTickDesc: s.Next, lastTickDesc: s.Last} {
		if !at.IsZero() {
			ch <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, float64(at.UnixMilli())/1000, s.Set, s.Name)
		}
	}
}

func (c *tally) ask() (task.Counts, []task.StoredSchedule, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.at.IsZero() || time.Since(c.at) >= countTrusted {
		ctx, cancel := context.WithTimeout(context.Background(), countPatience) // Collect has no context
		defer cancel()
		if c.now, c.err = c.count(ctx); c.err == nil {
			c.all, c.err = c.schedules(ctx)
		}
		c.at = time.Now()
	}
	return c.now, c.all, c.err
}

// maxSchedules limits the series for schedules in a scrape.
const maxSchedules = 1000

// schedules reads the schedules of all sets, a hundred at a time: each comes with the payload of
// its tasks.
func (c *tally) schedules(ctx context.Context) (all []task.StoredSchedule, err error) {
	for q := (task.ScheduleQuery{Limit: 100}); len(all) < maxSchedules; {
		some, err := c.store.Schedules(ctx, q)
		if err != nil {
			return nil, err
		}
		for _, s := range some {
			s.Template = nil
			all = append(all, s)
		}
		if len(some) < q.Limit {
			break
		}
		q.AfterSet, q.AfterName = some[len(some)-1].Set, some[len(some)-1].Name
	}
	return all, nil
}

// maxLines limits the series for tasks in a scrape: Prometheus keeps every series.
const maxLines = 1000

// count counts the tasks by kind for the kinds that a registered worker knows, and adds up the
// others: clients choose the kinds and queues of tasks, so their number has no limit.
func (c *tally) count(ctx context.Context) (task.Counts, error) {
	workers, err := c.store.Workers(ctx)
	if err != nil {
		return task.Counts{}, err
	}
	q := task.CountQuery{Lines: maxLines, Kinds: []string{}}
	for _, w := range workers {
		q.Kinds = append(q.Kinds, w.Kinds...)
	}
	slices.Sort(q.Kinds)
	q.Kinds = slices.Compact(q.Kinds)
	return c.store.Count(ctx, q)
}
