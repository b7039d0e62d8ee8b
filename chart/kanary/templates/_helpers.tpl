{{- define "kanary.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 52 | trimSuffix "-" }}
{{- end }}

{{/* At most 52 characters: with its longest suffix, the name of a Service has 63 at most. */}}
{{- define "kanary.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride }}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" }}
{{- else if contains $name .Release.Name }}
{{- .Release.Name | trunc 52 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 52 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "kanary.selector" -}}
app.kubernetes.io/name: {{ include "kanary.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{/* Without those that change with the chart alone: pods are replaced only if they have to. */}}
{{- define "kanary.podLabels" -}}
{{ include "kanary.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: kanary
{{- end }}

{{- define "kanary.labels" -}}
{{ include "kanary.podLabels" . }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "kanary.serviceAccount" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "kanary.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- required "serviceAccount.create is false: set serviceAccount.name" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "kanary.image" -}}
{{- with .Values.image }}
{{- if .digest }}
{{- printf "%s@%s" .repository .digest }}
{{- else }}
{{- printf "%s:%s" .repository (default $.Chart.AppVersion .tag) }}
{{- end }}
{{- end }}
{{- end }}

{{/* The name of all objects of the conversion webhook. */}}
{{- define "kanary.conversion" -}}
{{ include "kanary.fullname" . }}-conversion
{{- end }}

{{/* Of an optional kind, such as KanaryDeployment.kanary.k8s.io or KanaryDaemonset: its group and its plural. */}}
{{- define "kanary.group" -}}
{{- default "kanary.k8s-operators.dev" (splitn "." 2 .)._1 }}
{{- end }}
{{- define "kanary.resource" -}}
{{- lower (splitn "." 2 .)._0 }}s
{{- end }}

{{/* The arguments of `kanary run`, as a list. */}}
{{- define "kanary.args" -}}
{{- $args := list "run" (printf "--admin-addr=%s:%v" .Values.admin.host .Values.admin.port) "--identity=$(POD_NAME)" }}
{{- $args = append $args (printf "--log-format=%s" .Values.log.format) }}
{{- /* A ratio of 0 is a value. */}}
{{- $ratio := ternary "" (toString .Values.otlp.sampleRatio) (kindIs "invalid" .Values.otlp.sampleRatio) }}
{{- $flags := list
  (list "log" .Values.log.filter)
  (list "namespace" .Values.watchNamespace)
  (list "kinds" (join "," .Values.kinds))
  (list "shards" .Values.sharding.shards)
  (list "session-ttl" .Values.sharding.sessionTtl)
  (list "max-concurrent-canaries" .Values.limits.maxConcurrentCanaries)
  (list "max-concurrent-canaries-per-namespace" .Values.limits.maxConcurrentCanariesPerNamespace)
  (list "prometheus-allow" (join "," .Values.prometheus.allow))
  (list "prometheus-concurrency" .Values.prometheus.concurrency)
  (list "prometheus-qps" .Values.prometheus.qps)
  (list "prometheus-join" .Values.prometheus.join)
  (list "route-settling-time" .Values.routes.settlingTime)
  (list "target-kinds" (join "," .Values.targetKinds))
  (list "otlp-endpoint" .Values.otlp.endpoint)
  (list "otlp-protocol" .Values.otlp.protocol)
  (list "otlp-ca-file" (ternary "/etc/kanary/otlp/ca.crt" "" (not (empty .Values.otlp.caSecret))))
  (list "otlp-sample-ratio" $ratio) }}
{{- range $flags }}
{{- if index . 1 }}
{{- $args = append $args (printf "--%s=%v" (index . 0) (index . 1)) }}
{{- end }}
{{- end }}
{{- if .Values.routes.enabled }}
{{- $args = append $args "--routes" }}
{{- end }}
{{- if .Values.keda.enabled }}
{{- $args = append $args "--keda" }}
{{- end }}
{{- if .Values.metricsAPIs.enabled }}
{{- $args = append $args "--metrics-apis" }}
{{- end }}
{{- with .Values.conversion }}
{{- if .enabled }}
{{- $args = append $args (printf "--conversion-addr=%s:%v" $.Values.admin.host .port) }}
{{- if .certificateSecret }}
{{- $args = append $args "--conversion-certificate=/etc/kanary/conversion" }}
{{- else }}
{{- $args = append $args (printf "--conversion-names=%s.%s.svc" (include "kanary.conversion" $) $.Release.Namespace) }}
{{- $args = append $args (printf "--conversion-secret=%s" (include "kanary.conversion" $)) }}
{{- end }}
{{- end }}
{{- end }}
{{- $limits := list }}
{{- range .Values.prometheus.limits }}
{{- $limits = append $limits (printf "%s=%v/%v" .url .concurrency .qps) }}
{{- end }}
{{- with $limits }}
{{- $args = append $args (printf "--prometheus-limits=%s" (join "," .)) }}
{{- end }}
{{- concat $args .Values.extraArgs | toYaml }}
{{- end }}
