package task_test

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lastcall-go/lastcall/task"
	"github.com/lastcall-go/lastcall/task/memstore"
)

func TestIDs_AreUUIDsOfVersionSevenAndSortByTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := task.NewClient(memstore.New())
		var ids []string
		for range 5 {
			got, err := kind.Enqueue(t.Context(), c, args{}, nil)
			if err != nil {
				t.Fatal(err)
			}
			if len(got.ID) != 36 || got.ID[14] != '7' || !strings.ContainsRune("89ab", rune(got.ID[19])) {
				t.Errorf("id %s", got.ID)
			}
			ids = append(ids, got.ID)
			time.Sleep(time.Millisecond)
		}
		if !slices.IsSorted(ids) {
			t.Errorf("%v", ids)
		}
	})
}
