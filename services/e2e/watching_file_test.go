package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"
)

// rule is one rule of deploy/prometheus/rules.yml. A field that is not here is refused, in all types of this file: whoever
// needs one says here what it is for.
type rule struct {
	Record, Alert, Expr, For string
	Labels                   struct{ Severity string }
	Annotations              struct{ Summary, Runbook string }
}

// name is that of either kind.
func (r rule) name() string { return r.Record + r.Alert }

// load reads a YAML file of deploy/ without an unknown field.
func load(t testing.TB, into any, path ...string) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(append([]string{repository(t), "deploy"}, path...)...))
	if err != nil {
		t.Fatal(err)
	}
	err = yaml.Load(data, into, yaml.WithKnownFields())
	if err != nil {
		t.Fatalf("%v: %v", path, err)
	}
}

// rules returns all rules in their order.
func rules(t testing.TB) []rule {
	t.Helper()
	var file struct {
		Groups []struct {
			Name  string
			Rules []rule
		}
	}
	load(t, &file, "prometheus", "rules.yml")
	var all []rule
	for _, g := range file.Groups {
		if g.Name == "" || len(g.Rules) == 0 {
			t.Errorf("the group %q has %d rules", g.Name, len(g.Rules))
		}
		all = append(all, g.Rules...)
	}
	return all
}

// prometheusFile is deploy/prometheus/prometheus.yml.
type prometheusFile struct {
	Global struct {
		ScrapeInterval     string `yaml:"scrape_interval"`
		ScrapeTimeout      string `yaml:"scrape_timeout"`
		EvaluationInterval string `yaml:"evaluation_interval"`
	}
	RuleFiles     []string `yaml:"rule_files"`
	ScrapeConfigs []struct {
		JobName      string `yaml:"job_name"`
		DNSSDConfigs []struct {
			Names           []string
			Type            string
			Port            int
			RefreshInterval string `yaml:"refresh_interval"`
		} `yaml:"dns_sd_configs"`
	} `yaml:"scrape_configs"`
}

// source is the data source of a panel.
type source struct {
	Type, UID string
}

// step is where a threshold begins; the first one, without a value, is the base.
type step struct {
	Color string
	Value *float64
}

// panel is one panel of a dashboard.
type panel struct {
	ID                       int
	Type, Title, Description string
	GridPos                  struct{ X, Y, W, H int }
	Datasource               source
	FieldConfig              struct {
		Defaults struct {
			Unit       string
			Min, Max   *float64
			Thresholds struct {
				Mode  string
				Steps []step
			}
			Custom json.RawMessage // How lines are drawn.
		}
		Overrides []json.RawMessage
	}
	Options json.RawMessage // Where the legend is.
	Targets []struct {
		RefID, Expr, LegendFormat string
		Datasource                source
	}
}

// dashboard is one file of deploy/grafana/dashboards.
type dashboard struct {
	UID, Title, Description string
	Tags                    []string
	SchemaVersion, Version  int
	Editable                bool
	GraphTooltip            int
	Refresh                 string
	Time                    struct{ From, To string }
	Templating              struct {
		List []struct{ Name, Label, Type, Query string }
	}
	Panels []panel
}

// dashboards returns all dashboards by the names of their files.
func dashboards(t testing.TB) map[string]dashboard {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(repository(t), "deploy", "grafana", "dashboards", "*"))
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]dashboard{}
	for _, path := range files {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		decoder := json.NewDecoder(strings.NewReader(string(data)))
		decoder.DisallowUnknownFields()
		var d dashboard
		err = decoder.Decode(&d)
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		all[filepath.Base(path)] = d
	}
	return all
}
