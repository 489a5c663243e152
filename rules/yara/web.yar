// HTML and SVG attachments that build or fetch a file in the browser.

rule html_smuggling {
  meta:
    id = "LT-Y-0401"
    description = "an HTML or SVG file that makes a file in the browser and saves it"
    description_vi = "tệp HTML hoặc SVG tự dựng tệp trong trình duyệt rồi lưu lại"
    severity = "suspicious"
    score = 10
  strings:
    $script = "<script" nocase
    $blob1 = "new Blob" nocase
    $both = "msSaveOrOpenBlob" nocase
    $blob3 = "createObjectURL" nocase
    $data = /data:application\/(octet-stream|zip|x-zip|x-msdownload|vnd\.)/ nocase
    $decode1 = "atob(" nocase
    $decode2 = "fromCharCode" nocase
    $decode3 = "Uint8Array" nocase
    $save1 = ".download" nocase
    $save2 = "setAttribute('download'" nocase
    $save3 = "setAttribute(\"download\"" nocase
    $save4 = ".click(" nocase
    $save5 = "location.href" nocase
  condition:
    $script and (any of ($save*) or $both) and (any of ($blob*) or $both or $data) and (any of ($decode*) or $data)
    and not file_type == "message/rfc822"
}

rule html_obfuscated {
  meta:
    id = "LT-Y-0402"
    description = "an HTML file that unpacks itself: long escaped text fed to eval or document.write"
    description_vi = "tệp HTML tự giải nén: chuỗi mã hóa dài đưa vào eval hoặc document.write"
    severity = "suspicious"
    score = 7
  strings:
    $run1 = "document.write(unescape(" nocase
    $run2 = "eval(unescape(" nocase
    $run3 = "eval(atob(" nocase
    $run4 = "document.write(atob(" nocase
    $run5 = "document.write(decodeURIComponent(" nocase
    $run6 = "eval(function(p,a,c,k,e" nocase
    $run7 = "eval(String.fromCharCode(" nocase
  condition:
    any of them and not file_type == "message/rfc822"
}

rule html_login_form {
  meta:
    id = "LT-Y-0403"
    description = "an attached HTML page that asks for a password"
    description_vi = "trang HTML đính kèm hỏi mật khẩu"
    severity = "suspicious"
    score = 6
  strings:
    $form = "<form" nocase
    $password = /<input[^>]{0,200}type\s*=\s*["']?password/ nocase
  condition:
    $form and $password and (file_name iendswith ".htm" or file_name iendswith ".html" or file_name iendswith ".shtml"
      or file_name iendswith ".svg" or file_name iendswith ".xhtml")
}

rule svg_script {
  meta:
    id = "LT-Y-0404"
    description = "an SVG picture with a script in it"
    description_vi = "ảnh SVG có mã lệnh bên trong"
    severity = "suspicious"
    score = 7
  strings:
    $svg = "<svg" nocase
    $run1 = "<script" nocase
    $run2 = /\son(load|click|begin|error)\s*=/ nocase
    $run3 = "javascript:" nocase
  condition:
    $svg in (0..4096) and any of ($run*) and (file_type == "image/svg+xml" or file_name iendswith ".svg")
}
