package storekit

import "encoding/json"

// FormatMeta returns a task's Meta as a JSON object with sorted keys, and an empty text for none.
// The client makes sure that its texts are UTF-8.
func FormatMeta(meta map[string]string) string {
	if len(meta) == 0 {
		return ""
	}
	b, err := json.Marshal(meta)
	if err != nil { // texts always encode
		panic(err)
	}
	return string(b)
}

// ParseMeta parses the result of FormatMeta.
func ParseMeta(text string) (meta map[string]string, err error) {
	if text == "" {
		return nil, nil
	}
	return meta, json.Unmarshal([]byte(text), &meta)
}

// HasMeta reports whether a task's Meta has each of some pairs.
func HasMeta(meta, pairs map[string]string) bool {
	for key, value := range pairs {
		if has, ok := meta[key]; !ok || has != value {
			return false
		}
	}
	return true
}
