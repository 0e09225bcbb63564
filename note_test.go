package lastcall

import (
	"context"
	"fmt"
	"strings"
	"testing"
)

func TestNote_StandsInTheReportBelowTheSummary(t *testing.T) {
	g, _ := newTestGroup(t)
	mustStart(t, g.Go("worker", func(ctx context.Context) error {
		<-LastCall(ctx)
		AddNote(ctx, "tasks", "1 finished")
		AddNote(ctx, "mails", "3\nfailed      sent")
		AddNote(ctx, "tasks", "2 finished, 6 interrupted (stop)")
		return nil
	}))
	g.Stop(nil)
	r := g.Wait()
	if len(r.Notes) != 2 || r.Notes[0] != (Note{"tasks", "2 finished, 6 interrupted (stop)"}) {
		t.Errorf("%+v", r.Notes)
	}
	want := "0 abandoned\ntasks: 2 finished, 6 interrupted (stop)\nmails: 3\\nfailed      sent\nfinished    go worker"
	if !strings.Contains(r.String(), want) {
		t.Errorf("%s\nwant %s", r, want)
	}
	AddNote(g.Context(t.Context()), "tasks", "late")
	AddNote(t.Context(), "tasks", "of nobody")
	if got := g.Wait(); got.Notes[0].Text != "2 finished, 6 interrupted (stop)" {
		t.Errorf("after the report: %+v", got.Notes)
	}
}

func TestNote_AGroupKeepsAHundred(t *testing.T) {
	g, _ := newTestGroup(t)
	for n := range 2 * maxNotes {
		AddNote(g.Context(t.Context()), fmt.Sprint(n), "text")
	}
	g.Stop(nil)
	if r := g.Wait(); len(r.Notes) != maxNotes {
		t.Errorf("%d notes", len(r.Notes))
	}
}
