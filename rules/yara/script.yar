// Scripts that fetch and start something.

private rule is_script_host {
  strings:
    $wsh1 = "WScript.Shell" nocase ascii wide
    $wsh2 = "Shell.Application" nocase ascii wide
    $wsh3 = "Scripting.FileSystemObject" nocase ascii wide
    $wsh4 = "ActiveXObject" nocase ascii wide
    $wsh5 = "CreateObject(" nocase ascii wide
  condition:
    file_type startswith "text/" and any of them
}

rule script_downloads {
  meta:
    id = "LT-Y-0201"
    description = "a JScript, VBScript or HTA that downloads and starts a program"
    description_vi = "JScript, VBScript hoặc HTA tải về và chạy chương trình"
    severity = "suspicious"
    score = 10
  strings:
    $get1 = "MSXML2.XMLHTTP" nocase ascii wide
    $get2 = "MSXML2.ServerXMLHTTP" nocase ascii wide
    $get3 = "WinHttp.WinHttpRequest" nocase ascii wide
    $get4 = "ADODB.Stream" nocase ascii wide
    $get5 = "URLDownloadToFile" nocase ascii wide
    $run1 = ".Run" nocase ascii wide
    $run2 = ".Exec" nocase ascii wide
    $run3 = "ShellExecute" nocase ascii wide
    $run4 = "eval(" nocase ascii wide
  condition:
    is_script_host and any of ($get*) and any of ($run*)
}

rule script_file {
  meta:
    id = "LT-Y-0202"
    description = "a script for the Windows script host as an attachment"
    description_vi = "kịch bản Windows Script Host đính kèm"
    severity = "suspicious"
    score = 6
  condition:
    is_script_host and (
      file_name iendswith ".js" or file_name iendswith ".jse" or file_name iendswith ".vbs"
      or file_name iendswith ".vbe" or file_name iendswith ".wsf" or file_name iendswith ".hta"
      or file_name iendswith ".sct" or file_name iendswith ".wsc"
    )
}

rule encoded_script {
  meta:
    id = "LT-Y-0203"
    description = "a script in Microsoft's encoded form (JSE, VBE)"
    description_vi = "kịch bản ở dạng mã hóa của Microsoft (JSE, VBE)"
    severity = "suspicious"
    score = 10
  strings:
    $mark = /#@~\^[A-Za-z0-9+\/]{6}==/
  condition:
    $mark
}

rule powershell_hidden {
  meta:
    id = "LT-Y-0204"
    description = "PowerShell started hidden, with an encoded command or a download"
    description_vi = "PowerShell chạy ẩn, lệnh mã hóa hoặc tải về"
    severity = "suspicious"
    score = 8
  strings:
    $name = "powershell" nocase ascii wide
    $enc1 = /-e(nc|ncodedcommand)?\s+[A-Za-z0-9+\/]{40}/ nocase ascii wide
    $enc2 = "FromBase64String" nocase ascii wide
    $get1 = "DownloadString" nocase ascii wide
    $get2 = "DownloadFile" nocase ascii wide
    $get3 = "Invoke-WebRequest" nocase ascii wide
    $get4 = "Invoke-Expression" nocase ascii wide
    $hide = /-w(indowstyle)?\s+h(idden)?/ nocase ascii wide
  condition:
    $name and (any of ($enc*) or 2 of ($get*) or ($hide and any of ($get*)))
    and not file_type == "message/rfc822"
}

rule batch_file {
  meta:
    id = "LT-Y-0205"
    description = "a batch file that fetches something or hides what it does"
    description_vi = "tệp lệnh batch tải về hoặc giấu việc nó làm"
    severity = "suspicious"
    score = 7
  strings:
    $echo = "@echo off" nocase
    $get1 = "certutil" nocase
    $get2 = "bitsadmin" nocase
    $get3 = "curl " nocase
    $get4 = "powershell" nocase
    $get5 = "mshta" nocase
    $get6 = "regsvr32" nocase
    $get7 = "rundll32" nocase
  condition:
    $echo in (0..512) and any of ($get*) and not file_type == "message/rfc822"
}

rule shortcut_with_command {
  meta:
    id = "LT-Y-0206"
    description = "a Windows shortcut that starts a command interpreter"
    description_vi = "lối tắt Windows gọi trình thông dịch lệnh"
    severity = "suspicious"
    score = 12
  strings:
    $run1 = "cmd.exe" nocase ascii wide
    $run2 = "powershell" nocase ascii wide
    $run3 = "mshta" nocase ascii wide
    $run4 = "wscript" nocase ascii wide
    $run5 = "rundll32" nocase ascii wide
    $run6 = "http://" nocase ascii wide
    $run7 = "https://" nocase ascii wide
  condition:
    uint32(0) == 0x0000004C and uint32(4) == 0x00021401 and any of them
}

rule shortcut {
  meta:
    id = "LT-Y-0207"
    description = "a Windows shortcut as an attachment"
    description_vi = "lối tắt Windows đính kèm"
    severity = "suspicious"
    score = 6
  condition:
    uint32(0) == 0x0000004C and uint32(4) == 0x00021401
}

rule internet_shortcut_to_file {
  meta:
    id = "LT-Y-0208"
    description = "an Internet shortcut that opens a file of another machine"
    description_vi = "lối tắt Internet mở tệp trên máy khác"
    severity = "suspicious"
    score = 8
  strings:
    $head = "[InternetShortcut]" nocase
    $file = /URL\s*=\s*(file:|\\\\)/ nocase
  condition:
    $head in (0..256) and $file
}
