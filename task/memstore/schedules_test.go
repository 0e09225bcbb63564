package memstore_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/lastcall-go/lastcall/task"
	"github.com/lastcall-go/lastcall/task/memstore"
	"github.com/lastcall-go/lastcall/task/storetest"
)

func TestSchedules_InFakeTime(t *testing.T) { storetest.RunSchedules(t, engine) }

func TestPrune_RemovesASetWithoutSchedulesADayAfterItsLastProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memstore.New()
		put := func(name string, schedules ...task.ScheduleRecord) {
			t.Helper()
			if _, err := s.PutSchedules(t.Context(), task.SchedulesPut{ScheduleSet: task.ScheduleSet{Name: name, Generation: name}, Schedules: schedules}); err != nil {
				t.Fatal(err)
			}
		}
		sets := func(alive string, clock time.Time) (all string) {
			t.Helper()
			if _, err := s.Prune(t.Context(), task.PruneRequest{KeepOthers: true, Clock: clock}); err != nil {
				t.Fatal(err)
			}
			for _, name := range []string{"empty", "heard", "full"} {
				got, err := s.DueSchedules(t.Context(), task.DueRequest{Set: name, Generation: name, Alive: name == alive})
				if err != nil {
					t.Fatal(err)
				}
				all += got.Set.Generation + " "
			}
			return all
		}
		put("empty")
		put("heard")
		put("full", task.ScheduleRecord{Name: "a"})
		time.Sleep(23 * time.Hour)
		if got := sets("heard", time.Time{}); got != "empty heard full " {
			t.Errorf("after 23 hours there are %s", got)
		}
		time.Sleep(2 * time.Hour)
		if got := sets("", time.Now().Add(-2*time.Hour)); got != "empty heard full " {
			t.Errorf("by a clock that is behind there are %s", got)
		}
		if got := sets("", time.Time{}); got != " heard full " {
			t.Errorf("after 25 hours there are %s", got)
		}
	})
}
