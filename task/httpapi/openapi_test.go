package httpapi

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lastcall-go/lastcall/task"
)

// object is a part of the document.
type object = map[string]any

func openDocument(t *testing.T) object {
	t.Helper()
	var doc object
	if err := json.Unmarshal(document, &doc); err != nil {
		t.Fatal(err)
	}
	return doc
}

// resolve follows a reference within the document.
func resolve(t *testing.T, doc, part object) object {
	t.Helper()
	ref, ok := part["$ref"].(string)
	if !ok {
		return part
	}
	var at any = doc
	for name := range strings.SplitSeq(strings.TrimPrefix(ref, "#/"), "/") {
		at = at.(object)[name]
	}
	found, ok := at.(object)
	if !ok {
		t.Fatalf("the document has no %s", ref)
	}
	return resolve(t, doc, found)
}

// operations are the document's, by method and path.
func operations(t *testing.T, doc object) map[string]object {
	t.Helper()
	all := make(map[string]object)
	for path, item := range doc["paths"].(object) {
		for method, op := range item.(object) {
			all[strings.ToUpper(method)+" "+path] = op.(object)
		}
	}
	return all
}

func TestOpenAPI_TheDocumentHasTheRoutesAndNoOthers(t *testing.T) {
	doc := openDocument(t)
	ops := operations(t, doc)
	seen := make(map[string]bool)
	for _, rt := range serve(t, Config{}).handler.table() {
		name := rt.method + " " + rt.path
		op := ops[name]
		if op == nil {
			t.Errorf("the document lacks %s", name)
			continue
		}
		delete(ops, name)
		if id := op["operationId"].(string); seen[id] {
			t.Errorf("%s: the operationId %s is there twice", name, id)
		} else {
			seen[id] = true
		}
		if rt.role != "" && !strings.Contains(op["description"].(string), "`"+string(rt.role)+"`") {
			t.Errorf("%s: the description does not say that it needs the role %s", name, rt.role)
		}
		if body, _ := op["requestBody"].(object); (body != nil) != (rt.media != "") || body != nil && body["content"].(object)[rt.media] == nil {
			t.Errorf("%s: the document does not have a body of %q alone", name, rt.media)
		}
		var params []string
		for _, p := range asList(op["parameters"]) {
			if p := resolve(t, doc, p.(object)); p["in"] == "path" {
				params = append(params, "{"+p["name"].(string)+"}")
			}
		}
		if in := regexp.MustCompile(`\{\w+\}`).FindAllString(rt.path, -1); !slices.Equal(in, params) {
			t.Errorf("%s: parameters %v", name, params)
		}
	}
	for name := range ops {
		t.Errorf("the document has %s, which is no route", name)
	}
}

func TestOpenAPI_TheExamplesOfTheDocumentFitItsSchemas(t *testing.T) {
	doc := openDocument(t)
	checked := 0
	var walk func(at string, v any)
	walk = func(at string, v any) {
		switch v := v.(type) {
		case object:
			if schema, ok := v["schema"].(object); ok && v["example"] != nil {
				checked++
				for _, breach := range fits(t, doc, schema, v["example"], at) {
					t.Error(breach)
				}
			}
			for _, name := range slices.Sorted(maps.Keys(v)) {
				walk(at+"/"+name, v[name])
			}
		case []any:
			for i, v := range v {
				walk(fmt.Sprintf("%s/%d", at, i), v)
			}
		}
	}
	walk("", doc)
	if checked < 20 {
		t.Errorf("only %d examples were found", checked)
	}
}

func TestOpenAPI_TheDocumentNamesEverySortOfProblemOrThePageDoes(t *testing.T) {
	page, err := os.ReadFile("../../docs/http.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range problems {
		if !strings.Contains(string(page), "\n### "+k.name+"\n") {
			t.Errorf("docs/http.md has no heading for %s, to which its type leads", k.name)
		}
	}
}

// TestOpenAPI_RealAnswersFitTheDocument requests everything, so that every answer has contents.
func TestOpenAPI_RealAnswersFitTheDocument(t *testing.T) {
	onEachStore(t, func(t *testing.T, s *site) {
		doc := openDocument(t)
		left := operations(t, doc)
		check := func(route string, r reply) {
			t.Helper()
			delete(left, route)
			fitsAnswer(t, doc, route, r)
		}
		var mux task.Mux
		task.Handle(&mux, task.Kind[any]{Name: "ok"}, func(ctx context.Context, r *task.Run, arg any) error {
			_, err := task.Step(ctx, r, "pull", func(context.Context) (any, error) { return arg, nil })
			return err
		})
		s.work(&mux, nil)
		var done submitted
		body := `{"id": "` + someID + `", "kind": "ok", "payload": {"a": [1]}, "key": "K"}`
		r := s.ask("POST", "/v1/tasks", body)
		check("POST /v1/tasks", r)
		s.into(r, http.StatusCreated, &done)
		if _, err := s.client("").Wait(t.Context(), someID); err != nil {
			t.Fatal(err)
		}
		check("POST /v1/tasks", s.ask("POST", "/v1/tasks", body))
		check("POST /v1/tasks", s.ask("POST", "/v1/tasks", `{"id": "`+otherID+`", "kind": "none", "payload": 1}`))
		check("POST /v1/tasks", s.ask("POST", "/v1/tasks", `{}`))
		check("POST /v1/tasks", s.ask("POST", "/v1/tasks", `{}`, set("Content-Type", "text/plain")))
		check("POST /v1/tasks", s.ask("POST", "/v1/tasks", strings.Repeat(" ", maxBody+1)))
		check("POST /v1/tasks/batch", s.ask("POST", "/v1/tasks/batch", `{"kind": "ok", "payload": 1}`+"\n{}\n"))
		check("GET /v1/tasks", s.ask("GET", "/v1/tasks?limit=1", ""))
		check("GET /v1/tasks", s.ask("GET", "/v1/tasks?limit=x", ""))
		check("GET /v1/tasks", s.ask("GET", "/v1/tasks", "", host("example.com")))
		check("GET /v1/tasks/{id}", s.ask("GET", "/v1/tasks/"+someID, ""))
		check("GET /v1/tasks/{id}", s.ask("GET", "/v1/tasks/"+otherID, ""))
		check("GET /v1/tasks/{id}", s.ask("GET", "/v1/tasks/none", ""))
		check("GET /v1/tasks/{id}/log", s.ask("GET", "/v1/tasks/"+someID+"/log", ""))
		check("GET /v1/tasks/{id}/steps", s.ask("GET", "/v1/tasks/"+someID+"/steps", ""))
		check("POST /v1/tasks/{id}/interrupt", s.ask("POST", "/v1/tasks/"+otherID+"/interrupt", "{}"))
		check("DELETE /v1/tasks/{id}", s.ask("DELETE", "/v1/tasks/"+otherID, ""))
		check("POST /v1/tasks/{id}/cancel", s.ask("POST", "/v1/tasks/"+otherID+"/cancel", ""))
		check("POST /v1/tasks/{id}/retry", s.ask("POST", "/v1/tasks/"+otherID+"/retry", ""))
		check("POST /v1/tasks/{id}/retry", s.ask("POST", "/v1/tasks/"+someID+"/retry", ""))
		check("POST /v1/tasks/{id}/retry", s.ask("POST", "/v1/tasks/"+otherID+"/retry", `{"reason": "once more"}`))
		check("GET /v1/tasks/{id}", s.ask("GET", "/v1/tasks/"+otherID, ""))
		check("POST /v1/tasks/bulk", s.ask("POST", "/v1/tasks/bulk", `{"command": "cancel", "filter": {"kind": ["none"]}, "reason": "not needed"}`))
		check("POST /v1/tasks/bulk", s.ask("POST", "/v1/tasks/bulk", `{"command": "cancel"}`))
		check("POST /v1/queues/{queue}/pause", s.ask("POST", "/v1/queues/a%2Fb/pause", ""))
		check("GET /v1/queues", s.ask("GET", "/v1/queues", ""))
		check("GET /v1/counts", s.ask("GET", "/v1/counts", ""))
		check("POST /v1/queues/{queue}/resume", s.ask("POST", "/v1/queues/a%2Fb/resume", ""))
		withSchedules(t, s.store, "shop", "a/b")
		check("GET /v1/schedules", s.ask("GET", "/v1/schedules?set=shop&limit=1", ""))
		check("GET /v1/schedules", s.ask("GET", "/v1/schedules?set=%00", ""))
		check("GET /v1/schedules", s.ask("GET", "/v1/schedules?limit=0", ""))
		for _, verb := range []string{"pause", "resume"} {
			check("POST /v1/schedules/{set}/{schedule}/"+verb, s.ask("POST", "/v1/schedules/shop/a%2Fb/"+verb, ""))
			check("POST /v1/schedules/{set}/{schedule}/"+verb, s.ask("POST", "/v1/schedules/shop/%00/"+verb, ""))
			check("POST /v1/schedules/{set}/{schedule}/"+verb, s.ask("POST", "/v1/schedules/shop/none/"+verb, ""))
		}
		for range 2 {
			check("POST /v1/schedules/{set}/{schedule}/run", s.ask("POST", "/v1/schedules/shop/a%2Fb/run", "{}"))
		}
		check("GET /v1/workers", s.ask("GET", "/v1/workers", ""))
		check("GET /v1/openapi.json", s.ask("GET", "/v1/openapi.json", ""))
		check("GET /v1/events", s.ask("HEAD", "/v1/events", ""))
		for route := range left {
			t.Errorf("%s was not tried", route)
		}
	})
}

// fitsAnswer compares an answer with the document's description of its route.
func fitsAnswer(t *testing.T, doc object, route string, r reply) {
	t.Helper()
	said, ok := operations(t, doc)[route]["responses"].(object)[fmt.Sprint(r.status)].(object)
	if !ok {
		t.Errorf("%s answers %d, of which the document does not know: %s", route, r.status, r.body)
		return
	}
	content, _ := resolve(t, doc, said)["content"].(object)
	if content == nil {
		if r.body != "" {
			t.Errorf("%s answers %d with a body: %s", route, r.status, r.body)
		}
		return
	}
	media, _, _ := strings.Cut(r.header.Get("Content-Type"), ";")
	of, ok := content[media].(object)
	if !ok {
		t.Errorf("%s answers %d with %q", route, r.status, media)
		return
	}
	if !strings.Contains(media, "json") {
		return
	}
	parts := []string{r.body}
	if media == asLines {
		parts = strings.Split(strings.TrimSpace(r.body), "\n")
	}
	for _, part := range parts {
		var v any
		if err := json.Unmarshal([]byte(part), &v); err != nil {
			t.Errorf("%s: %v: %s", route, err, part)
			continue
		}
		for _, breach := range fits(t, doc, of["schema"].(object), v, route) {
			t.Errorf("%s in %s", breach, part)
		}
	}
}

func asList(v any) []any { l, _ := v.([]any); return l }

// fits returns where a value does not fit a schema. It knows the words of JSON Schema that the
// document uses, and fails on others.
func fits(t *testing.T, doc, schema object, v any, at string) (breaches []string) {
	t.Helper()
	schema = resolve(t, doc, schema)
	breach := func(format string, args ...any) {
		breaches = append(breaches, at+": "+fmt.Sprintf(format, args...))
	}
	for word, want := range schema {
		switch word {
		case "description", "examples", "default":
		case "type":
			if !hasType(v, want.(string)) {
				breach("%v is no %s", v, want)
				return breaches
			}
		case "enum":
			if !slices.Contains(want.([]any), v) {
				breach("%v is none of %v", v, want)
			}
		case "required":
			for _, name := range want.([]any) {
				if _, ok := v.(object)[name.(string)]; !ok {
					breach("%v is missing", name)
				}
			}
		case "properties", "additionalProperties":
		case "items":
			for i, v := range v.([]any) {
				breaches = append(breaches, fits(t, doc, want.(object), v, fmt.Sprintf("%s[%d]", at, i))...)
			}
		case "minimum", "maximum":
			if n := v.(float64); word == "minimum" && n < want.(float64) || word == "maximum" && n > want.(float64) {
				breach("%v is beyond the %s %v", v, word, want)
			}
		case "minLength", "maxLength":
			if n := float64(len(v.(string))); word == "minLength" && n < want.(float64) || word == "maxLength" && n > want.(float64) {
				breach("%q is beyond the %s %v", v, word, want)
			}
		case "pattern":
			if !regexp.MustCompile(want.(string)).MatchString(v.(string)) {
				breach("%q is not like %s", v, want)
			}
		case "format":
			if !hasFormat(v.(string), want.(string)) {
				breach("%q is no %s", v, want)
			}
		default:
			t.Fatalf("%s: the test does not know the word %s", at, word)
		}
	}
	members, _ := v.(object)
	properties, _ := schema["properties"].(object)
	for name, v := range members {
		of, known := properties[name].(object)
		if !known {
			of, known = schema["additionalProperties"].(object)
		}
		if known {
			breaches = append(breaches, fits(t, doc, of, v, at+"."+name)...)
		} else if schema["additionalProperties"] == false {
			breach("%s is not in the document", name)
		}
	}
	return breaches
}

func hasType(v any, want string) (ok bool) {
	switch want {
	case "object":
		_, ok = v.(object)
	case "array":
		_, ok = v.([]any)
	case "string":
		_, ok = v.(string)
	case "boolean":
		_, ok = v.(bool)
	case "number":
		_, ok = v.(float64)
	case "integer":
		n, number := v.(float64)
		ok = number && n == math.Trunc(n)
	}
	return ok
}

func hasFormat(s, want string) bool {
	switch want {
	case "uuid":
		return isID(s)
	case "date-time":
		at, err := time.Parse(time.RFC3339Nano, s)
		return err == nil && strings.HasSuffix(s, "Z") && !at.IsZero()
	case "uri":
		return strings.HasPrefix(s, "https://")
	}
	return false
}

// The names in the document are camelCase: members of objects, and parameters of paths and queries.
func TestOpenAPI_NamesAreCamelCase(t *testing.T) {
	camel := regexp.MustCompile(`^[a-z][a-z0-9]*([A-Z][a-z0-9]+)*$`)
	names := 0
	check := func(name string) {
		if names++; !camel.MatchString(name) {
			t.Errorf("%q is not camelCase", name)
		}
	}
	var walk func(part any)
	walk = func(part any) {
		switch part := part.(type) {
		case []any:
			for _, one := range part {
				walk(one)
			}
		case object:
			if members, ok := part["properties"].(object); ok {
				for name := range members {
					check(name)
				}
			}
			if in := part["in"]; in == "query" || in == "path" {
				check(part["name"].(string))
			}
			for _, one := range part {
				walk(one)
			}
		}
	}
	walk(openDocument(t))
	if names < 50 {
		t.Errorf("only %d names were found", names)
	}
}
