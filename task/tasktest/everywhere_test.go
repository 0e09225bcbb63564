package tasktest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lastcall-go/lastcall/task"
)

// ledger has what a handler has done outside.
type ledger struct{ pulled, charged, items []int }

// imports is a handler with steps and items, each of which takes a while.
func (l *ledger) imports(ctx context.Context, r *task.Run, a args) error {
	pulled, err := task.Step(ctx, r, "pull", func(context.Context) (int, error) {
		l.pulled = append(l.pulled, 7)
		return 7, nil
	})
	if err != nil {
		return err
	}
	items := []int{pulled, 8, 9}
	err = task.EachOf(ctx, r, "rows", items, func(_ context.Context, i int) error {
		time.Sleep(300 * time.Millisecond)
		l.items = append(l.items, i)
		return nil
	})
	if err != nil {
		return err
	}
	if err := r.Save(ctx, "saved"); err != nil {
		return err
	}
	_, err = task.Step(ctx, r, "charge", func(context.Context) (int, error) {
		l.charged = append(l.charged, 1)
		return 1, nil
	})
	return err
}

func TestEverywhere_GoesThroughEverySaveAndItem(t *testing.T) {
	t.Parallel()
	var names []string
	for name, opt := range Everywhere(t, new(ledger).imports, args{}, Options{}) {
		names = append(names, name)
		var l ledger
		got := Run(t, l.imports, args{}, opt)
		twice := 0
		if opt.CrashBeforeSave+opt.CrashAtItem > 0 {
			twice = 3 // the items since the last write, or one call
		}
		done := len(l.pulled) + len(l.charged) + len(l.items)
		if got.Status != task.StatusSucceeded || done < 5 || done > 5+twice || !slices.Contains(l.items, 9) {
			t.Errorf("%s: %s (%s), done %+v", name, got.Status, got.Error, l)
		}
		if crashed := strings.HasPrefix(name, "killed"); crashed != (got.Crashes == 1) || !crashed && name != "no incident" && got.Crashes+got.Attempts > 0 {
			t.Errorf("%s: %+v", name, got.Counters)
		}
		if len(got.Steps) != 3 || got.Steps[1].Name != "rows" || got.Steps[1].State != task.StepDone {
			t.Errorf("%s: steps %+v", name, got.Steps)
		}
	}
	if len(names) != 1+4*4+3*3 || names[0] != "no incident" || !slices.Contains(names, "killed before save 4") || !slices.Contains(names, "interrupted at item 3") {
		t.Errorf("%d ways: %q", len(names), names)
	}
}

func TestCrash_BeforeASaveWhatItWouldHaveRecordedIsForgotten(t *testing.T) {
	t.Parallel()
	var l ledger
	o, err := try(t, kind, Options{CrashBeforeSave: 1}, l.imports)
	counts(t, o, err, task.StatusSucceeded, 2, 0, 0, 1)
	if len(l.pulled) != 2 || o.Saves != 4 {
		t.Errorf("%+v, %d saves", l, o.Saves)
	}
}

func TestCrash_AtAnItemItIsDoneAgain(t *testing.T) {
	t.Parallel()
	var l ledger
	o, err := try(t, kind, Options{CrashAtItem: 2}, l.imports)
	counts(t, o, err, task.StatusSucceeded, 2, 0, 0, 1)
	if fmt.Sprint(l.items) != "[7 8 7 8 9]" || o.Items != 5 {
		t.Errorf("%+v, %d items", l, o.Items)
	}
}

func TestLastCall_AtAnItemEachHandsOverBehindIt(t *testing.T) {
	t.Parallel()
	for _, opt := range []Options{{LastCallAtItem: 2}, {InterruptAtItem: 2}} {
		var l ledger
		o, err := try(t, kind, opt, l.imports)
		counts(t, o, err, task.StatusSucceeded, 2, 0, 1, 0)
		if fmt.Sprint(l.items) != "[7 8 9]" {
			t.Errorf("%+v: %+v", opt, l)
		}
	}
}

func TestOptions_AnItemThatDoesNotComeFailsTheTest(t *testing.T) {
	t.Parallel()
	_, err := try(t, kind, Options{CrashAtItem: 4}, new(ledger).imports)
	complains(t, err, "has done 3 items", "item 4 did not")
	_, err = try(t, kind, Options{CrashAtItem: 1, CrashBeforeSave: 1}, new(ledger).imports)
	complains(t, err, "only one of LastCallAtSave to CrashAtItem")
}
