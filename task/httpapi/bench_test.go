package httpapi

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/lastcall-go/lastcall/task"
)

// BenchmarkSubmitsOnSQLite counts durable submits per second, each a request of its own, from 64
// clients that keep their connections. All run on this machine, so the clients' work is included.
func BenchmarkSubmitsOnSQLite(b *testing.B) {
	s := serve(b, Config{Store: stores["SQLite"](b), Logger: slog.New(slog.DiscardHandler)})
	client := s.client("")
	const clients = 64
	var next atomic.Int64
	var wg sync.WaitGroup
	b.ResetTimer()
	for range clients {
		wg.Go(func() {
			for i := next.Add(1); i <= int64(b.N); i = next.Add(1) {
				if _, err := client.Enqueue(context.Background(), "k", fmt.Appendf(nil, `{"n":%d}`, i), nil); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "submits/s")
}

// BenchmarkBatchesOnSQLite counts durable submits per second in batches of a thousand, from one
// client.
func BenchmarkBatchesOnSQLite(b *testing.B) {
	s := serve(b, Config{Store: stores["SQLite"](b), Logger: slog.New(slog.DiscardHandler)})
	client := s.client("")
	tasks := make([]task.NewTask, b.N)
	for i := range tasks {
		var err error
		if tasks[i], err = task.Prepare("k", fmt.Appendf(nil, `{"n":%d}`, i), nil); err != nil {
			b.Fatal(err)
		}
	}
	b.ResetTimer()
	for len(tasks) > 0 {
		n := min(len(tasks), 1000)
		if _, err := client.EnqueueMany(context.Background(), tasks[:n]); err != nil {
			b.Fatal(err)
		}
		tasks = tasks[n:]
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "submits/s")
}
