{{- /* Names, labels, images, and where the broker and the shared state are. */ -}}

{{- define "packhound.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" }}
{{- end }}

{{- define "packhound.fullname" -}}
{{- $name := include "packhound.name" . }}
{{- $made := contains $name .Release.Name | ternary .Release.Name (printf "%s-%s" .Release.Name $name) }}
{{- default $made .Values.fullnameOverride | trunc 40 | trimSuffix "-" }}
{{- end }}

{{- /* Call with (list . "component"). */ -}}
{{- define "packhound.selector" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: {{ include "packhound.name" $root }}
app.kubernetes.io/instance: {{ $root.Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end }}

{{- /* Of pods: nothing that changes with the version, so that an upgrade restarts what changed and no more. */ -}}
{{- define "packhound.podLabels" -}}
{{ include "packhound.selector" . }}
app.kubernetes.io/part-of: packhound
{{- with (index . 0).Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "packhound.labels" -}}
{{- $root := index . 0 -}}
{{ include "packhound.selector" . }}
app.kubernetes.io/part-of: packhound
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" }}
{{- with $root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- /* Name and labels of an object: (list . "component" "name") or, elsewhere, (list . "component" "name" "namespace"); "-" is no namespace. */ -}}
{{- define "packhound.metadata" -}}
{{- $root := index . 0 -}}
name: {{ index . 2 }}
{{- $namespace := gt (len .) 3 | ternary (last .) $root.Release.Namespace }}
{{- if ne $namespace "-" }}
namespace: {{ $namespace }}
{{- end }}
labels:
  {{- include "packhound.labels" (list $root (index . 1)) | nindent 2 }}
{{- end }}

{{- /* (list . "role") */ -}}
{{- define "packhound.image" -}}
{{- $root := index . 0 -}}
{{- $image := index $root.Values.images (index . 1) -}}
{{- $registry := default $root.Values.image.registry $image.registry -}}
{{- $path := $registry | empty | ternary $image.repository (printf "%s/%s" $registry $image.repository) -}}
{{- if $image.digest -}}
{{ printf "%s@%s" $path $image.digest }}
{{- else -}}
{{ printf "%s:%s" $path (default $root.Chart.AppVersion $image.tag) }}
{{- end -}}
{{- end }}

{{- define "packhound.priorityClass" -}}
{{- if .Values.priorityClass.create -}}
{{ default (include "packhound.fullname" .) .Values.priorityClass.name }}
{{- else -}}
{{ .Values.priorityClass.name }}
{{- end -}}
{{- end }}

{{- /* What every pod of ours has in common: (list . "component"). */ -}}
{{- define "packhound.pod" -}}
{{- $root := index . 0 -}}
{{- with include "packhound.priorityClass" $root }}
priorityClassName: {{ . }}
{{- end }}
{{- with $root.Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "packhound.restricted" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{- define "packhound.sensors" -}}
{{- if eq .Values.namespaces.sensors.name .Release.Namespace -}}
{{- fail "namespaces.sensors.name must not be the namespace of the release: sensors need rights that nothing else there should have" -}}
{{- end -}}
{{ .Values.namespaces.sensors.name }}
{{- end }}

{{- define "packhound.natsUrl" -}}
{{- if .Values.nats.enabled -}}
{{ .Values.nats.tls.enabled | ternary "tls" "nats" }}://{{ include "packhound.fullname" . }}-nats.{{ .Release.Namespace }}.svc:4222
{{- else -}}
{{ required "nats.external.url: give the broker's address, or set nats.enabled" .Values.nats.external.url }}
{{- end -}}
{{- end }}

{{- define "packhound.redisUrl" -}}
{{- if .Values.redis.enabled -}}
redis://{{ include "packhound.fullname" . }}-redis.{{ .Release.Namespace }}.svc:6379
{{- else -}}
{{ required "redis.external.url: give the address of a Redis, or set redis.enabled" .Values.redis.external.url }}
{{- end -}}
{{- end }}

{{- /* Names of the Secrets: empty where an outside service has none. */ -}}
{{- define "packhound.natsSecret" -}}
{{- default (.Values.nats.enabled | ternary (printf "%s-nats" (include "packhound.fullname" .)) "") .Values.nats.auth.clientsSecret -}}
{{- end }}
{{- define "packhound.natsOperatorSecret" -}}
{{- default (.Values.nats.enabled | ternary (printf "%s-nats-operator" (include "packhound.fullname" .)) "") .Values.nats.auth.operatorSecret -}}
{{- end }}
{{- define "packhound.natsServerSecret" -}}
{{- default (printf "%s-nats-server" (include "packhound.fullname" .)) .Values.nats.auth.serverSecret -}}
{{- end }}
{{- define "packhound.natsTlsSecret" -}}
{{- if .Values.nats.tls.enabled -}}
{{ default (printf "%s-nats-tls" (include "packhound.fullname" .)) .Values.nats.tls.clientsSecret }}
{{- end -}}
{{- end }}
{{- define "packhound.natsServerTlsSecret" -}}
{{- default (printf "%s-nats-server-tls" (include "packhound.fullname" .)) .Values.nats.tls.serverSecret -}}
{{- end }}
{{- define "packhound.apiSecret" -}}
{{- if .Values.processors.api.enabled -}}
{{ default (printf "%s-api-tls" (include "packhound.fullname" .)) .Values.processors.api.tlsSecret }}
{{- end -}}
{{- end }}
{{- define "packhound.redisSecret" -}}
{{- default (.Values.redis.enabled | ternary (printf "%s-redis" (include "packhound.fullname" .)) "") .Values.redis.auth.clientsSecret -}}
{{- end }}
{{- define "packhound.redisServerSecret" -}}
{{- default (printf "%s-redis-server" (include "packhound.fullname" .)) .Values.redis.auth.serverSecret -}}
{{- end }}

{{- /* The names of all fleets, as JSON. */ -}}
{{- define "packhound.fleets" -}}
{{- .Values.fleet.create | ternary (list .Values.fleet.name) list | concat .Values.nats.fleets | uniq | sortAlpha | toJson -}}
{{- end }}

{{- /* MiB of a size such as 4Gi. */ -}}
{{- define "packhound.mib" -}}
{{- $unit := regexFind "[A-Za-z]+$" . -}}
{{- mul (trimSuffix $unit . | int64) (get (dict "Mi" 1 "Gi" 1024 "Ti" 1048576) $unit) -}}
{{- end }}

{{- /* Sizes of a fleet's streams in MiB by name, as JSON, once they are known to fit. */ -}}
{{- define "packhound.streams" -}}
{{- $least := dict "packets" 16 }}
{{- $sizes := dict }}
{{- $each := 0 }}
{{- range $name := list "packets" "dead" "plans" "filters" "status" "pods" }}
{{- $given := index $.Values.nats.streams $name }}
{{- $mib := include "packhound.mib" $given | int64 }}
{{- if lt $mib (default 8 (get $least $name) | int64) }}
{{- fail (printf "nats.streams.%s: %s is too little; give %dMi or more" $name $given (default 8 (get $least $name))) }}
{{- end }}
{{- $_ := set $sizes $name $mib }}
{{- $each = add $each $mib }}
{{- end }}
{{- if .Values.nats.enabled }}
{{- $brokers := int .Values.nats.replicas }}
{{- $copies := int .Values.nats.streams.replicas }}
{{- if gt $copies $brokers }}
{{- fail (printf "nats.streams.replicas: %d copies of each stream need as many brokers; nats.replicas is %d" $copies $brokers) }}
{{- end }}
{{- $fleets := len (include "packhound.fleets" . | fromJsonArray) }}
{{- $wanted := mul $each $fleets $copies }}
{{- $there := mul (include "packhound.mib" .Values.nats.storage.maxFile | int64) $brokers }}
{{- if gt $wanted $there }}
{{- fail (printf "nats.storage.maxFile: too little. Fleets: %d, each reserves %dMi (nats.streams); copies of each stream: %d; so %dMi in all. Brokers: %d of %s, %dMi in all. Give them more, or the streams less" $fleets $each $copies $wanted $brokers .Values.nats.storage.maxFile $there) }}
{{- end }}
{{- end }}
{{- toJson $sizes -}}
{{- end }}

{{- /* Port of a URL: (list url default). */ -}}
{{- define "packhound.port" -}}
{{- regexReplaceAll "^.*:([0-9]+)/?.*$" (regexFind "^[a-z+]+://[^/]*:[0-9]+" (index . 0)) "${1}" | default (index . 1) -}}
{{- end }}

{{- /* Names and ports that every pod may reach. */ -}}
{{- define "packhound.dns" -}}
- ports:
    {{- range (.Values.openshift.enabled | ternary (list 53 5353) (list 53)) }}
    - {port: {{ . }}, protocol: UDP}
    - {port: {{ . }}, protocol: TCP}
    {{- end }}
{{- end }}
