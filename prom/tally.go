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
	err error
}

const (
	countTrusted  = time.Second
	countPatience = 5 * time.Second
)

func (c *tally) collect(ch chan<- prometheus.Metric) {
	counts, err := c.ask()
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
}

func (c *tally) ask() (task.Counts, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.at.IsZero() || time.Since(c.at) >= countTrusted {
		ctx, cancel := context.WithTimeout(context.Background(), countPatience) // Collect has no context
		defer cancel()
		c.now, c.err = c.count(ctx)
		c.at = time.Now()
	}
	return c.now, c.err
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
