// Package prom tells Prometheus of the tasks, the worker and the stop of a Go service: the metrics
// of the program lastcall, by the same names. docs/cli.md of the repository lists them.
//
// The service makes one [Metrics], registers it, and hands it what there is to measure:
//
//	m := prom.New()
//	prometheus.MustRegister(m)
//	store := m.Store(opened)
//	worker, err := task.NewWorker(task.WorkerConfig{Store: store, Mux: &mux, Observe: m.Observe})
//	...
//	m.WatchTasks(store)
//	m.WatchWorker(worker)
//	m.WatchStop(ctx)
//
// Serve them with [lastcall.ServeUntilClose]: so the scrapes of the whole stop are answered, and
// none of them holds it up.
package prom

import (
	"context"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/lastcall-go/lastcall"
	"github.com/lastcall-go/lastcall/task"
)

// Metrics are those of one process. They are a [prometheus.Collector]; a second one in the same
// registry needs labels of its own, as prometheus.WrapRegistererWith gives them. Every method may
// be called at any time, before the registration or after it.
type Metrics struct {
	waited, took  *prometheus.HistogramVec
	interruptions *prometheus.CounterVec
	crashes       prometheus.Counter
	unresponsive  *prometheus.CounterVec
	stale         prometheus.Counter
	calls         *prometheus.HistogramVec
	callErrors    *prometheus.CounterVec

	mu      sync.Mutex
	workers []*task.Worker
	stop    context.Context //nolint:containedctx // whose stop is watched
	tasks   *tally
}

var _ prometheus.Collector = (*Metrics)(nil)

// New makes them, each zero.
func New() *Metrics {
	histogram := func(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets}, labels)
	}
	long := []float64{0.01, 0.1, 0.5, 1, 5, 15, 60, 300, 1800, 7200, 21600, 86400}
	short := []float64{0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5, 30}
	m := &Metrics{
		waited: histogram("lastcall_task_wait_seconds", "How long tasks could be claimed before their run began here.", long, "kind"),
		took:   histogram("lastcall_task_run_seconds", "How long runs went on here, by what the task became.", long, "kind", "status"),
		interruptions: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "lastcall_task_interruptions_total", Help: "Runs that were cut short on purpose or given back, as this process recorded them.",
		}, []string{"reason"}),
		crashes: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "lastcall_task_crashes_total", Help: "Runs whose process died, as this process recorded them.",
		}),
		unresponsive: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "lastcall_unresponsive_handlers_total", Help: "Handlers here that had not returned 10 s after their context had ended.",
		}, []string{"kind"}),
		stale: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "lastcall_stale_writes_refused_total", Help: "Writes of this process that came too late: the run was somebody else's by then.",
		}),
		calls: histogram("lastcall_store_seconds", "How long the store took to answer, by call.", short, "call"),
		callErrors: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "lastcall_store_errors_total", Help: "Calls of the store that returned an error, by call.",
		}, []string{"call"}),
	}
	for _, r := range []task.Reason{task.ReasonStop, task.ReasonDeadline, task.ReasonFrozen, task.ReasonLost, task.ReasonRequested, task.ReasonReleased, task.ReasonTurn} {
		m.interruptions.WithLabelValues(string(r))
	}
	return m
}

// Observe is for [task.WorkerConfig], which tells it of the begin and the end of runs. A service
// that observes too calls it from its own function.
func (m *Metrics) Observe(_ context.Context, e task.Event) {
	if e.Unresponsive {
		m.unresponsive.WithLabelValues(e.Task.Kind).Inc()
		return
	}
	if e.Status == task.StatusRunning {
		m.waited.WithLabelValues(e.Task.Kind).Observe(e.Waited.Seconds())
		return
	}
	if e.Reclaimed {
		return // how long it took is not known, and its crash is counted with the calls of the store
	}
	status := string(e.Status)
	if e.Stale {
		status = "stale"
	}
	m.took.WithLabelValues(e.Task.Kind, status).Observe(e.Took.Seconds())
}

// WatchWorker adds which kinds a worker has paused.
func (m *Metrics) WatchWorker(w *task.Worker) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.workers = append(m.workers, w)
}

// WatchStop adds how far the stop of a context's group is, in the place of the one before.
func (m *Metrics) WatchStop(ctx context.Context) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.stop = ctx
}

// WatchTasks adds how many tasks there are in a store, in the place of the one before. They are
// counted at a scrape, once a second at most, which must end within five seconds. Every process
// that watches a store counts all of its tasks: take one of them, as with max.
func (m *Metrics) WatchTasks(s task.Store) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.tasks = &tally{store: s}
}

var (
	phaseDesc    = prometheus.NewDesc("lastcall_stop_phase", "1 for the phase that the process is in: running, drain, interrupt or close.", []string{"phase"}, nil)
	leftDesc     = prometheus.NewDesc("lastcall_stop_remaining_seconds", "How much time is left in the present phase of a stop. Only then, and where there is a deadline.", nil, nil)
	pauseDesc    = prometheus.NewDesc("lastcall_kind_paused", "1 for each kind that this process cannot run now, by what it lacks. Only then.", []string{"kind", "reason"}, nil)
	tasksDesc    = prometheus.NewDesc("lastcall_tasks", "How many tasks there are in the store.", []string{"queue", "kind", "status"}, nil)
	suspectsDesc = prometheus.NewDesc("lastcall_suspects", "How many of the tasks were in two crashes in a row or cut off by three stops, and run in groups.", []string{"state"}, nil)
	upDesc       = prometheus.NewDesc("lastcall_store_up", "1 if the store has answered this scrape.", nil, nil)
)

// kept are the metrics that are added to as things happen; the others are looked up at a scrape.
func (m *Metrics) kept() []prometheus.Collector {
	return []prometheus.Collector{m.waited, m.took, m.interruptions, m.crashes, m.unresponsive, m.stale, m.calls, m.callErrors}
}

// Describe implements [prometheus.Collector].
func (m *Metrics) Describe(ch chan<- *prometheus.Desc) {
	for _, c := range m.kept() {
		c.Describe(ch)
	}
	for _, d := range []*prometheus.Desc{phaseDesc, leftDesc, pauseDesc, tasksDesc, suspectsDesc, upDesc} {
		ch <- d
	}
}

// Collect implements [prometheus.Collector].
func (m *Metrics) Collect(ch chan<- prometheus.Metric) {
	m.mu.Lock()
	workers, stop, tasks := m.workers, m.stop, m.tasks
	m.mu.Unlock()
	if tasks != nil {
		tasks.collect(ch) // first: the calls of the store that it makes are counted in the same scrape
	}
	collectPauses(ch, workers)
	if stop != nil {
		collectStop(stop, ch)
	}
	for _, c := range m.kept() {
		c.Collect(ch)
	}
}

// collectPauses tells of what workers have paused; two may have paused one kind.
func collectPauses(ch chan<- prometheus.Metric, workers []*task.Worker) {
	told := map[[2]string]bool{}
	for _, w := range workers {
		for _, k := range w.PausedKinds() {
			if one := [2]string{k.Kind, k.Reason}; !told[one] {
				told[one] = true
				ch <- prometheus.MustNewConstMetric(pauseDesc, prometheus.GaugeValue, 1, k.Kind, k.Reason)
			}
		}
	}
}

// collectStop tells of a group's stop.
func collectStop(ctx context.Context, ch chan<- prometheus.Metric) {
	now := StopPhase(ctx)
	for _, phase := range []string{"running", "drain", "interrupt", "close"} {
		value := 0.0
		if phase == now {
			value = 1
		}
		ch <- prometheus.MustNewConstMetric(phaseDesc, prometheus.GaugeValue, value, phase)
	}
	if left, ok := lastcall.TimeLeft(ctx); ok {
		ch <- prometheus.MustNewConstMetric(leftDesc, prometheus.GaugeValue, left.Seconds())
	}
}

// StopPhase is how far the stop of a context's group is, as lastcall_stop_phase has it: running,
// drain, interrupt or close.
func StopPhase(ctx context.Context) string {
	select {
	case <-lastcall.LastCall(ctx):
	default:
		return "running"
	}
	switch {
	case lastcall.UntilAbandon(ctx).Err() != nil:
		return "close"
	case lastcall.UntilInterrupt(ctx).Err() != nil:
		return "interrupt"
	}
	return "drain"
}
