package e2e

import (
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestRules_TellSomebodyWhatToDo(t *testing.T) {
	t.Parallel()
	help, err := runBinary("doorcodectl", nil, "-h")
	if err != nil {
		t.Fatal(err)
	}
	settings := map[string]bool{}
	for _, all := range settingsOf() {
		for _, s := range all {
			settings[s.Name] = true
		}
	}
	names, pages := map[string]bool{}, 0
	for _, r := range rules(t) {
		if (r.Record == "") == (r.Alert == "") || names[r.name()] {
			t.Errorf("%q records %q and is not the only one", r.Alert, r.Record)
		}
		names[r.name()] = true
		if r.Record != "" {
			if !regexp.MustCompile(`^[a-z_]+:doorcode_[a-z_]+:[a-z0-9_]+$`).MatchString(r.Record) || r.For != "" || r.Annotations.Runbook != "" {
				t.Errorf("what is recorded as %s is no level:metric:operation, or alerts", r.Record)
			}
			continue
		}
		if !regexp.MustCompile(`^Doorcode[A-Za-z]+$`).MatchString(r.Alert) || !regexp.MustCompile(`^(\d+[mhd])?$`).MatchString(r.For) {
			t.Errorf("the alert %s for %q", r.Alert, r.For)
		}
		switch r.Labels.Severity {
		case "page":
			pages++
		case "ticket":
		default:
			t.Errorf("%s has the severity %q", r.Alert, r.Labels.Severity)
		}
		for _, text := range []string{r.Annotations.Summary, r.Annotations.Runbook} {
			if len(text) < 20 || !strings.HasSuffix(text, ".") || strings.Contains(text, "\n") {
				t.Errorf("%s says %q", r.Alert, text)
			}
		}
		for _, command := range regexp.MustCompile("`(doorcodectl [a-z -]+)`").FindAllStringSubmatch(r.Annotations.Runbook, -1) {
			if !strings.Contains(help, command[1]+" ") && !strings.Contains(help, command[1]+"\n") {
				t.Errorf("%s asks for %q, which is no command", r.Alert, command[1])
			}
		}
		for _, setting := range regexp.MustCompile(`\bDOORCODE_[A-Z_]+\b`).FindAllString(r.Annotations.Runbook, -1) {
			if !settings[setting] {
				t.Errorf("%s names %s, which is no setting", r.Alert, setting)
			}
		}
	}
	if pages == 0 || len(names) == pages {
		t.Errorf("%d of %d rules wake somebody", pages, len(names))
	}
}

func TestPrometheus_ReadsTheOperationsAddressOfEachProcess(t *testing.T) {
	t.Parallel()
	file := compose(t)
	want := map[string]string{}
	for name, c := range file.Services {
		for variable, value := range c.Environment {
			if strings.HasSuffix(variable, "_OPERATIONS_LISTEN") {
				want[name] = strings.TrimPrefix(value, "0.0.0.0:")
			}
		}
	}
	var conf prometheusFile
	load(t, &conf, "prometheus", "prometheus.yml")
	got := map[string]string{}
	for _, job := range conf.ScrapeConfigs {
		for _, by := range job.DNSSDConfigs {
			if by.Type != "A" || !slices.Equal(by.Names, []string{job.JobName}) || by.RefreshInterval == "" {
				t.Errorf("%s is found by %+v", job.JobName, by)
			}
			got[job.JobName] = strconv.Itoa(by.Port)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("processes and their ports (-compose +prometheus):\n%s", diff)
	}
	if conf.Global.ScrapeInterval == "" || conf.Global.ScrapeTimeout == "" || conf.Global.EvaluationInterval == "" {
		t.Errorf("times are left out: %+v", conf.Global)
	}
	if mounted := mountedFiles(file, "prometheus"); mounted["/etc/prometheus/prometheus.yml"] != "prometheus.yml" ||
		len(conf.RuleFiles) != 1 || mounted[conf.RuleFiles[0]] != "rules.yml" {
		t.Errorf("the container has %v and reads %v", mounted, conf.RuleFiles)
	}
}

// mountedFiles returns the files that a container gets, by where they lie in it.
func mountedFiles(file composeFile, name string) map[string]string {
	files := map[string]string{}
	for _, c := range file.Services[name].Configs {
		files[c.Target] = filepath.Base(file.Configs[c.Source].File)
	}
	return files
}

func TestGrafana_FindsItsDataAndEveryDashboard(t *testing.T) {
	t.Parallel()
	var sources struct {
		APIVersion  int `yaml:"apiVersion"`
		Datasources []struct {
			Name, UID, Type, Access, URL string
			IsDefault                    bool              `yaml:"isDefault"`
			Editable                     bool              `yaml:"editable"`
			JSONData                     map[string]string `yaml:"jsonData"`
		}
	}
	load(t, &sources, "grafana", "provisioning", "datasources.yml")
	if len(sources.Datasources) != 1 || sources.Datasources[0].URL != "http://prometheus:9090" || sources.Datasources[0].Type != "prometheus" {
		t.Errorf("it reads from %+v", sources.Datasources)
	}
	var boards struct {
		APIVersion int `yaml:"apiVersion"`
		Providers  []struct {
			Name, Folder, Type string
			AllowUIUpdates     bool `yaml:"allowUiUpdates"`
			Options            struct{ Path string }
		}
	}
	load(t, &boards, "grafana", "provisioning", "dashboards.yml")
	if len(boards.Providers) != 1 || boards.Providers[0].Type != "file" {
		t.Fatalf("its dashboards come from %+v", boards.Providers)
	}
	want := map[string]string{
		"/etc/grafana/provisioning/datasources/doorcode.yml": "datasources.yml",
		"/etc/grafana/provisioning/dashboards/doorcode.yml":  "dashboards.yml",
	}
	for name := range dashboards(t) {
		want[boards.Providers[0].Options.Path+"/"+name] = name
	}
	if diff := cmp.Diff(want, mountedFiles(compose(t), "grafana")); diff != "" {
		t.Errorf("files in the container (-want +got):\n%s", diff)
	}
}

func TestDashboards_CanBeReadAtAGlance(t *testing.T) {
	t.Parallel()
	all := dashboards(t)
	var titles []string
	for name, d := range all {
		titles = append(titles, d.Title)
		if d.UID != "doorcode-"+strings.TrimSuffix(name, ".json") || d.Description == "" || d.Time.From == "" || d.Time.To != "now" || d.Refresh == "" {
			t.Errorf("%s: uid %q, description %q, time %+v, refresh %q", name, d.UID, d.Description, d.Time, d.Refresh)
		}
		if len(d.Templating.List) != 1 || d.Templating.List[0].Name != "datasource" || d.Templating.List[0].Type != "datasource" || d.Templating.List[0].Query != "prometheus" {
			t.Errorf("%s: variables %+v", name, d.Templating.List)
		}
		places := map[string]string{}
		for i, p := range d.Panels {
			for _, problem := range p.problems() {
				t.Errorf("%s, panel %q: %s", name, p.Title, problem)
			}
			if p.ID != i+1 {
				t.Errorf("%s: the panel %q has the id %d", name, p.Title, p.ID)
			}
			for x := range p.GridPos.W {
				for y := range p.GridPos.H {
					place := fmt.Sprint(p.GridPos.X+x, "/", p.GridPos.Y+y)
					if places[place] != "" || p.GridPos.X+x >= 24 {
						t.Fatalf("%s: %q lies over %q, or beyond the edge", name, p.Title, places[place])
					}
					places[place] = p.Title
				}
			}
		}
	}
	slices.Sort(titles)
	if !slices.Equal(titles, []string{"Delivery", "Processes"}) {
		t.Errorf("the dashboards are %v", titles)
	}
}

// problems lists what a panel lacks.
func (p panel) problems() []string {
	var all []string
	if p.Title == "" || !strings.HasSuffix(p.Description, ".") || p.Type != "stat" && p.Type != "timeseries" {
		all = append(all, fmt.Sprintf("type %q, description %q", p.Type, p.Description))
	}
	units := []string{"none", "short", "percentunit", "s", "ops", "reqps", "bytes", "cores"}
	if !slices.Contains(units, p.FieldConfig.Defaults.Unit) {
		all = append(all, "unit "+p.FieldConfig.Defaults.Unit)
	}
	thresholds := p.FieldConfig.Defaults.Thresholds
	if thresholds.Mode != "absolute" || len(thresholds.Steps) == 0 || thresholds.Steps[0].Value != nil {
		return append(all, fmt.Sprintf("thresholds %+v", thresholds))
	}
	for i, s := range thresholds.Steps[1:] {
		if s.Value == nil || i > 0 && *s.Value <= *thresholds.Steps[i].Value || !slices.Contains([]string{"green", "yellow", "red"}, s.Color) {
			all = append(all, fmt.Sprintf("threshold %d does not rise, or is %s", i+1, s.Color))
		}
	}
	if p.Type == "stat" && len(thresholds.Steps) < 2 {
		all = append(all, "a figure that is never bad")
	}
	ids := map[string]bool{}
	variable := source{Type: "prometheus", UID: "${datasource}"}
	for _, q := range p.Targets {
		if q.LegendFormat == "" || q.RefID == "" || ids[q.RefID] || q.Datasource != variable || p.Datasource != variable {
			all = append(all, fmt.Sprintf("query %+v", q))
		}
		ids[q.RefID] = true
	}
	if len(ids) == 0 {
		all = append(all, "nothing is asked")
	}
	return all
}
