package rehearse

import (
	"encoding/json"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"
)

// The page explains each name in the report, for readers of the JSON who do not read Go.
func TestReport_EachNameOfItsJSONIsInThePage(t *testing.T) {
	page, err := os.ReadFile("../docs/rehearse.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, ok := strings.Cut(string(page), "### The JSON report\n")
	if !ok {
		t.Fatal("docs/rehearse.md has no section about the report")
	}
	section, _, _ = strings.Cut(section, "\n## ")
	var names []string
	for _, one := range []any{Report{}, Result{}, Finding{}, Stack{}} {
		for i := range reflect.TypeOf(one).NumField() {
			name, _, _ := strings.Cut(reflect.TypeOf(one).Field(i).Tag.Get("json"), ",")
			names = append(names, name)
		}
	}
	text, err := json.Marshal(Event{At: time.Second, Until: time.Second, What: "a", Detail: "b", Code: NoReaction})
	if err != nil {
		t.Fatal(err)
	}
	event := map[string]any{}
	if err := json.Unmarshal(text, &event); err != nil {
		t.Fatal(err)
	}
	for name := range event {
		names = append(names, name)
	}
	for _, name := range names {
		if !strings.Contains(section, "`"+name+"`") && !strings.Contains(section, "."+name+"`") {
			t.Errorf("docs/rehearse.md does not say what %q is in a report", name)
		}
	}
	if len(names) < 20 {
		t.Errorf("only %d names are looked for: %q", len(names), names)
	}
}
