package storekit_test

import (
	"strings"
	"testing"
	"time"

	"github.com/lastcall-go/lastcall/task"
	"github.com/lastcall-go/lastcall/task/storekit"
)

func TestParseID_ReadsUUIDsOfEveryVersionInLowerCase(t *testing.T) {
	for _, id := range []string{
		"00000000-0000-0000-0000-000000000000",
		"ffffffff-ffff-ffff-ffff-ffffffffffff",
		"0197c0de-0000-7000-8000-000000000000",
		"6ba7b810-9dad-11d1-80b4-00c04fd430c8",
		"f47ac10b-58cc-4372-a567-0e02b2c3d479",
	} {
		u, ok := storekit.ParseID(id)
		if !ok || storekit.FormatID(u) != id {
			t.Errorf("%s: %t, and back %s", id, ok, storekit.FormatID(u))
		}
	}
}

func TestParseID_RefusesWhatIsNoID(t *testing.T) {
	const good = "f47ac10b-58cc-4372-a567-0e02b2c3d479"
	for _, id := range []string{
		"", "7", good[1:], good + "0", "{" + good + "}", strings.ToUpper(good), strings.ReplaceAll(good, "-", ""),
		strings.Replace(good, "-", "0", 1), "g" + good[1:], strings.Replace(good, "f4", "f-", 1),
	} {
		if u, ok := storekit.ParseID(id); ok || u != [16]byte{} {
			t.Errorf("%q was read as %x", id, u)
		}
	}
}

func TestTimeOf_IsTheTimeOfAnIDOfVersionSeven(t *testing.T) {
	n, err := task.Prepare("kind", []byte("{}"), nil)
	if err != nil {
		t.Fatal(err)
	}
	got, ok := storekit.TimeOf(n.ID)
	if since := time.Since(got); !ok || since < 0 || since > time.Minute {
		t.Errorf("%s: %v, %t", n.ID, got, ok)
	}
	if got, ok := storekit.TimeOf("0197c0de-0000-7000-8000-000000000000"); !ok || got.UnixMilli() != 0x0197c0de0000 {
		t.Errorf("%v, %t", got, ok)
	}
}

func TestTimeOf_OtherIDsHaveNone(t *testing.T) {
	for _, id := range []string{
		"", "f47ac10b-58cc-4372-a567-0e02b2c3d479", "00000000-0000-0000-0000-000000000000",
		"0197c0de-0000-7000-c000-000000000000", // another variant
	} {
		if got, ok := storekit.TimeOf(id); ok || !got.IsZero() {
			t.Errorf("%q: %v, %t", id, got, ok)
		}
	}
}
